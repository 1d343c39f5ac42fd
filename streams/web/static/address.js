"use strict";
// Paths of pages: `root` is the setting web_root_path; `address` is as in streams/web/rendering.py.

const root = document.documentElement.dataset.root;

const address = (kind, id) =>
  id === "." || id === ".." || id.endsWith(".json")
    ? `${root}/${kind}?id=${encodeURIComponent(id)}`
    : `${root}/${kind}/${encodeURIComponent(id)}`;
