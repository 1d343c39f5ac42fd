"use strict";
// Draws /map.json: a point an item, coloured by how far it moved; hover names it, click opens it, typing finds it.

(() => {
  const canvas = document.getElementById("map");
  if (!canvas) return;
  const found = document.getElementById("found");
  const wanted = document.getElementById("wanted");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const EDGE = 18, NEAR = 12;
  let points = [];
  let pointed = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function place(items) {
    const range = (values) => [Math.min(...values), Math.max(...values)];
    const [left, right] = range(items.map((one) => one.x));
    const [low, high] = range(items.map((one) => one.y));
    const furthest = Math.max(...items.map((one) => one.moved)) || Infinity;
    const busiest = Math.max(...items.map((one) => one.events), 1);
    points = items.map((one) => ({
      ...one,
      px: (one.x - left) / (right - left || 1),
      py: 1 - (one.y - low) / (high - low || 1),
      share: one.moved / furthest,
      radius: 2.5 + 5 * Math.sqrt(one.events / busiest),
    }));
  }

  const at = (one) => [EDGE + one.px * (canvas.clientWidth - 2 * EDGE), EDGE + one.py * (canvas.clientHeight - 2 * EDGE)];

  function draw() {
    const pen = canvas.getContext("2d");
    const scale = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = canvas.clientHeight * scale;
    pen.scale(scale, scale);
    const [stayed, went, text, page] = ["--series-1", "--series-2", "--text", "--card"].map(colour);
    const text_ = wanted.value.trim().toLowerCase();
    const matches = text_ ? points.filter((one) => one.item.toLowerCase().includes(text_)) : [];
    for (const one of points) {
      const [x, y] = at(one);
      pen.globalAlpha = text_ && !matches.includes(one) ? 0.15 : 0.75;
      pen.fillStyle = one.share > 0.5 ? went : stayed;
      pen.beginPath();
      pen.arc(x, y, one.radius, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.font = "13px system-ui, sans-serif";
    for (const one of [...matches.slice(0, 12), ...(pointed ? [pointed] : [])]) {
      const [x, y] = at(one);
      pen.strokeStyle = text;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, one.radius + 3, 0, 7);
      pen.stroke();
      const width = pen.measureText(one.item).width;
      const begin = Math.min(x + one.radius + 6, canvas.clientWidth - width - 4);
      pen.strokeStyle = page;
      pen.lineWidth = 4;
      pen.strokeText(one.item, begin, y + 4);
      pen.fillStyle = text;
      pen.fillText(one.item, begin, y + 4);
    }
    if (text_) found.textContent = matches.length ? `${matches.length} found; Enter opens ${matches[0].item}` : "None found.";
    else found.textContent = pointed ? `${pointed.item}: ${pointed.events} events, moved ${pointed.moved.toFixed(3)}` : "\u00a0";
    return matches;
  }

  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    let best = null, least = NEAR;
    for (const one of points) {
      const [x, y] = at(one);
      const far = Math.hypot(x - (event.clientX - box.left), y - (event.clientY - box.top));
      if (far < least) [best, least] = [one, far];
    }
    return best;
  }

  canvas.addEventListener("mousemove", (event) => {
    const now = nearest(event);
    canvas.classList.toggle("at", now !== null);
    if (now !== pointed) {
      pointed = now;
      draw();
    }
  });
  canvas.addEventListener("click", (event) => {
    const one = nearest(event);
    if (one) location.assign(address("items", one.item));
  });
  wanted.addEventListener("input", draw);
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
