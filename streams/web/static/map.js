"use strict";
// Draws /map.json: a point per item, coloured by its movement; hovering names it, a click opens it, typing finds it.

(() => {
  const canvas = document.getElementById("map");
  if (!canvas) return;
  const status = document.getElementById("matches");
  const query = document.getElementById("query");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const EDGE_PX = 18, NEAR_PX = 12;
  let points = [];
  let hovered = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function place(items) {
    const range = (values) => [Math.min(...values), Math.max(...values)];
    const [left, right] = range(items.map((point) => point.x));
    const [low, high] = range(items.map((point) => point.y));
    const mostMoved = Math.max(...items.map((point) => point.moved)) || Infinity;
    const busiest = Math.max(...items.map((point) => point.events), 1);
    points = items.map((point) => ({
      ...point,
      px: (point.x - left) / (right - left || 1),
      py: 1 - (point.y - low) / (high - low || 1),
      share: point.moved / mostMoved,
      radius: 2.5 + 5 * Math.sqrt(point.events / busiest),
    }));
  }

  const at = (point) => [EDGE_PX + point.px * (canvas.clientWidth - 2 * EDGE_PX), EDGE_PX + point.py * (canvas.clientHeight - 2 * EDGE_PX)];

  function draw() {
    const pen = canvas.getContext("2d");
    const scale = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    pen.scale(scale, scale);
    const [still, moved, text, page] = ["--series-1", "--series-2", "--text", "--card"].map(colour);
    const filter = query.value.trim().toLowerCase();
    const matches = filter ? points.filter((point) => point.item.toLowerCase().includes(filter)) : [];
    for (const point of points) {
      const [x, y] = at(point);
      pen.globalAlpha = filter && !matches.includes(point) ? 0.15 : 0.75;
      pen.fillStyle = point.share > 0.5 ? moved : still;
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
      const width = pen.measureText(point.item).width;
      const begin = Math.min(x + point.radius + 6, canvas.clientWidth - width - 4);
      pen.strokeStyle = page;
      pen.lineWidth = 4;
      pen.strokeText(point.item, begin, y + 4);
      pen.fillStyle = text;
      pen.fillText(point.item, begin, y + 4);
    }
    if (filter) status.textContent = matches.length ? `${matches.length} ${matches.length === 1 ? "match" : "matches"}; Enter opens ${matches[0].item}` : "No match.";
    else status.textContent = hovered ? `${hovered.item}: ${hovered.events} events, moved ${hovered.moved.toFixed(3)}` : "\u00a0";
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
  dark.addEventListener("change", draw);
  new ResizeObserver(draw).observe(canvas);

  fetch(canvas.dataset.from)
    .then((answer) => answer.json())
    .then(({ items }) => {
      place(items);
      draw();
    });
})();
