"use strict";
// Path of the page of a user or an item, as `address` in streams/web/rendering.py.

const address = (kind, id) =>
  id === "." || id === ".." || id.endsWith(".json")
    ? `/${kind}?id=${encodeURIComponent(id)}`
    : `/${kind}/${encodeURIComponent(id)}`;
