"use strict";
// Draws /map.json: a point per item, coloured by its movement or its category; hovering names it, a click opens it,
// typing finds it.

(() => {
  const canvas = document.getElementById("map");
  if (!canvas) return;
  const status = document.getElementById("matches");
  const query = document.getElementById("query");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const choice = document.getElementById("colour");
  const EDGE_PX = 18, NEAR_PX = 12, KINDS = 6;
  let points = [];
  let hovered = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function nameCategories() {
    const counts = new Map();
    const names = points.map(({ path }) => path.split("/"));
    let depth = 1;  // where the first names are all the same, the next ones tell more
    while (depth < 4 && new Set(names.filter(([first]) => first).map((path) => path.slice(0, depth).join("/"))).size < 2) depth++;
    points.forEach((point, n) => { point.category = names[n].slice(0, depth).join("/"); });
    for (const { category } of points) if (category) counts.set(category, (counts.get(category) ?? 0) + 1);
    const named = [...counts].sort((a, b) => b[1] - a[1]).slice(0, KINDS).map(([category]) => category);
    for (const point of points) point.kind = named.indexOf(point.category) + 1;
    const legend = document.getElementById("categories");
    const entry = (kind, text) => {
      const sample = document.createElement("span");
      const name = document.createElement("bdi");
      sample.className = kind ? `event kind-${kind}` : "event";
      name.textContent = text;
      return [sample, " ", name, "\u2002"];
    };
    legend.replaceChildren(...named.flatMap((name, n) => entry(n + 1, name)), ...entry(0, "others"));
  }

  function place(items, described) {
    const range = (values) => [Math.min(...values), Math.max(...values)];
    const [left, right] = range(items.map((point) => point.x));
    const [low, high] = range(items.map((point) => point.y));
    const mostMoved = Math.max(...items.map((point) => point.moved)) || Infinity;
    const busiest = Math.max(...items.map((point) => point.events), 1);
    points = items.map((point) => ({
      ...point,
      title: described[point.item]?.title ?? "",
      path: described[point.item]?.category ?? "",
      name: described[point.item]?.title?.slice(0, 60) || point.item,
      px: (point.x - left) / (right - left || 1),
      py: 1 - (point.y - low) / (high - low || 1),
      share: point.moved / mostMoved,
      radius: 2.5 + 5 * Math.sqrt(point.events / busiest),
    }));
    nameCategories();
  }

  const at = (point) => [EDGE_PX + point.px * (canvas.clientWidth - 2 * EDGE_PX), EDGE_PX + point.py * (canvas.clientHeight - 2 * EDGE_PX)];

  function draw() {
    const pen = canvas.getContext("2d");
    const scale = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    pen.scale(scale, scale);
    const [text, page, other] = ["--text", "--card", "--faint"].map(colour);
    const kinds = [other, ...Array.from({ length: KINDS }, (_, n) => colour(`--series-${n + 1}`))];
    const byCategory = choice?.value === "category";
    const filter = query.value.trim().toLowerCase();
    const matches = filter ? points.filter((point) => `${point.item} ${point.title}`.toLowerCase().includes(filter)) : [];
    for (const point of points) {
      const [x, y] = at(point);
      pen.globalAlpha = filter && !matches.includes(point) ? 0.15 : 0.75;
      pen.fillStyle = kinds[byCategory ? point.kind : point.share > 0.5 ? 2 : 1];
      pen.beginPath();
      pen.arc(x, y, point.radius, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.font = "13px system-ui, sans-serif";
    for (const point of [...matches.slice(0, 12), ...(hovered ? [hovered] : [])]) {
      const [x, y] = at(point);
      pen.strokeStyle = text;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, point.radius + 3, 0, 7);
      pen.stroke();
      const width = pen.measureText(point.name).width;
      const begin = Math.min(x + point.radius + 6, canvas.clientWidth - width - 4);
      pen.strokeStyle = page;
      pen.lineWidth = 4;
      pen.strokeText(point.name, begin, y + 4);
      pen.fillStyle = text;
      pen.fillText(point.name, begin, y + 4);
    }
    if (filter) status.textContent = matches.length ? `${matches.length} ${matches.length === 1 ? "match" : "matches"}; Enter opens ${matches[0].name}` : "No match.";
    else status.textContent = hovered ? `${hovered.name}: ${hovered.events} events, moved ${hovered.moved.toFixed(3)}` : "\u00a0";
    return matches;
  }

  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    let best = null, bestDistance = NEAR_PX;
    for (const point of points) {
      const [x, y] = at(point);
      const distance = Math.hypot(x - (event.clientX - box.left), y - (event.clientY - box.top));
      if (distance < bestDistance) [best, bestDistance] = [point, distance];
    }
    return best;
  }

  canvas.addEventListener("mousemove", (event) => {
    const now = nearest(event);
    canvas.classList.toggle("at", now !== null);
    if (now !== hovered) {
      hovered = now;
      draw();
    }
  });
  canvas.addEventListener("click", (event) => {
    const point = nearest(event);
    if (point) location.assign(address("items", point.item));
  });
  query.addEventListener("input", draw);
  document.getElementById("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const [first] = draw();
    if (first) location.assign(address("items", first.item));
  });
  choice?.addEventListener("change", () => {
    document.getElementById("moved").hidden = choice.value === "category";
    document.getElementById("categories").hidden = choice.value !== "category";
    draw();
  });
  dark.addEventListener("change", draw);
  new ResizeObserver(draw).observe(canvas);

  fetch(canvas.dataset.from)
    .then((answer) => answer.json())
    .then(({ items, described = {} }) => {
      place(items, described);
      draw();
    });
})();
