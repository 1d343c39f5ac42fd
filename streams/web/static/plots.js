"use strict";
// Draws what /plots.json holds with uPlot, a figure for each plot, and again every few seconds.

(() => {
  const place = document.getElementById("plots");
  const charts = new Map(); // name ▶ {figure, chart, labels}
  const dark = matchMedia("(prefers-color-scheme: dark)");

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dashes = [[], [6, 4], [2, 3]];
  const shown = (value, unit) =>
    value == null ? "–" : `${value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 2 : 0 })} ${unit}`;

  const latest = (values) => values.findLast((value) => value != null);

  function figure(plot) {
    const made = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = plot.unit ? `${plot.title}, ${plot.unit}` : plot.title;
    made.append(caption);
    place.append(made);
    return made;
  }

  const clock = (stamps) => {
    const day = stamps.at(-1) - stamps[0] > 2 * 86400;
    const style = day ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    return stamps.map((stamp) => new Date(stamp * 1000).toLocaleString(undefined, style));
  };

  function draw(plot, times, box) {
    const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const lines = plot.lines.map((line, n) => ({
      label: line.label,
      stroke: colour(`--series-${(n % 6) + 1}`),
      dash: dashes[Math.floor(n / 6) % dashes.length],
      width: 1.5,
      spanGaps: false,
      points: { size: 4 },
      value: ({ data }, value, line, at) => shown(at == null ? latest(data[line]) : value, plot.unit),
    }));
    return new uPlot(
      {
        width: box.clientWidth - 2,
        height: 180,
        cursor: { y: false },
        axes: [{ ...axis, values: (_, stamps) => clock(stamps) }, { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => tick.toLocaleString("en")) }],
        scales: { y: { range: (_, low, high) => [Math.min(low, 0) * 1.08, Math.max(high, 1) * 1.08] } },
        series: [{ label: "At", value: (_, time) => (time == null ? "latest" : new Date(time * 1000).toLocaleString()) }, ...lines],
      },
      [times, ...plot.lines.map((line) => line.values)],
      box,
    );
  }

  function said(plot) {
    const lines = plot.lines.map((line) => `${line.label} ${shown(latest(line.values), plot.unit)}`);
    return `${plot.title}. Latest: ${lines.join(", ") || "nothing yet"}.`;
  }

  function show({ times, plots }) {
    for (const plot of plots) {
      const labels = plot.lines.map((line) => line.label).join("\n");
      let one = charts.get(plot.name);
      if (!one) charts.set(plot.name, (one = { figure: figure(plot), chart: null, labels: null }));
      if (one.labels !== labels) {
        one.chart?.destroy();
        one.chart = draw(plot, times, one.figure);
        one.labels = labels;
        const canvas = one.figure.querySelector("canvas");
        canvas.setAttribute("role", "img");
      } else {
        one.chart.setData([times, ...plot.lines.map((line) => line.values)]);
      }
      one.figure.querySelector("canvas").setAttribute("aria-label", said(plot));
    }
  }

  function again() {
    for (const one of charts.values()) one.labels = null;
    refresh();
  }

  async function refresh() {
    try {
      const answer = await fetch(place.dataset.from);
      if (answer.ok) show(await answer.json());
    } catch {
      // the worker is away: what was drawn stays, and the next turn tries again
    }
  }

  refresh();
  if (Number(place.dataset.every)) setInterval(refresh, 1000 * place.dataset.every);
  dark.addEventListener("change", again);
  let width = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth === width) return;
    width = place.clientWidth;
    for (const { figure, chart } of charts.values()) chart?.setSize({ width: figure.clientWidth - 2, height: 180 });
  }).observe(place);
})();
