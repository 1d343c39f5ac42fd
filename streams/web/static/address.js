"use strict";
// Where a user's or an item's page is: as `address` in streams/web/rendering.py.

const address = (kind, id) =>
  id === "." || id === ".." || id.endsWith(".json")
    ? `/${kind}?id=${encodeURIComponent(id)}`
    : `/${kind}/${encodeURIComponent(id)}`;
