"use strict";
// Shows the lines of /live/stream, newest on top.

(() => {
  const MAX_ROWS = 100, SHOWN_ITEMS = 5;
  const tail = document.getElementById("tail");
  const state = document.getElementById("state");
  const pause = document.getElementById("pause");

  const titles = new Map();  // by item; a promise while it is asked for
  const MAX_TITLES = 5000;

  async function nameItems(row) {
    const wanted = [...new Set([...row.querySelectorAll("a[data-item]")].map((a) => a.dataset.item))].filter((id) => !titles.has(id));
    if (titles.size > MAX_TITLES) titles.clear();
    if (wanted.length) {
      const query = new URLSearchParams(wanted.map((id) => ["id", id]));
      const answer = fetch(`${root}/described.json?${query}`).then((response) => (response.ok ? response.json() : {})).catch(() => ({}));
      for (const id of wanted) titles.set(id, answer.then((found) => found[id]?.title ?? ""));
    }
    for (const anchor of row.querySelectorAll("a[data-item]")) {
      const title = await titles.get(anchor.dataset.item);
      if (!title) continue;
      const shown = document.createElement("bdi");
      shown.className = "title brief";
      shown.textContent = title;
      anchor.title = title;
      anchor.after(" ", shown);
    }
  }

  function link(kind, id) {
    const anchor = document.createElement("a");
    const text = document.createElement("bdi");
    anchor.className = "id";
    anchor.href = address(kind, id);
    text.textContent = id;
    if (kind === "items") anchor.dataset.item = id;
    anchor.append(text);
    return anchor;
  }

  function cell(name, ...content) {
    const element = document.createElement("td");
    element.dataset.name = name;
    element.append(...content);
    return element;
  }

  function show({ event, recommendation }) {
    const row = document.createElement("tr");
    const items = (recommendation?.items ?? []).slice(0, SHOWN_ITEMS).flatMap(({ item }, n) => (n ? [" · ", link("items", item)] : [link("items", item)]));
    const served = new Date(recommendation?.time ?? Date.now());
    const age = cell("Age", recommendation ? `${recommendation.age_ms} ms` : "–");
    age.className = "n";
    row.append(
      cell("Served", served.toISOString().slice(11, 23)),
      cell("User", link("users", event.user)),
      cell("Type", event.type),
      cell("Item", event.item ? link("items", event.item) : "–"),
      age,
      cell("Recommended", ...(items.length ? items : ["–"])),
    );
    tail.prepend(row);
    nameItems(row);
    while (tail.rows.length > MAX_ROWS) tail.lastChild.remove();
    document.getElementById("nothing").hidden = true;
  }

  function setState(text, good) {
    state.textContent = text;
    state.className = good ? "state good" : "state";
  }

  let paused = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Resume" : "Pause";
    setState(paused ? "paused" : "live", !paused);
  });

  const source = new EventSource(`${root}/live/stream${location.search}`);
  source.onopen = () => setState("live", true);
  source.onerror = () => setState("connection lost, reconnecting", false);
  source.onmessage = ({ data }) => paused || show(JSON.parse(data));
  addEventListener("pagehide", () => source.close());
})();
