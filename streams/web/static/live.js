"use strict";
// Shows the lines of /live/stream, newest on top.

(() => {
  const MOST = 100, SHOWN = 5;
  const tail = document.getElementById("tail");
  const state = document.getElementById("state");
  const hold = document.getElementById("hold");

  function link(kind, id) {
    const made = document.createElement("a");
    const text = document.createElement("bdi");
    made.className = "id";
    made.href = address(kind, id);
    text.textContent = id;
    made.append(text);
    return made;
  }

  function cell(name, ...content) {
    const made = document.createElement("td");
    made.dataset.name = name;
    made.append(...content);
    return made;
  }

  function show({ event, recommendation }) {
    const row = document.createElement("tr");
    const items = (recommendation?.items ?? []).slice(0, SHOWN).flatMap(({ item }, n) => (n ? [" · ", link("items", item)] : [link("items", item)]));
    const served = new Date(recommendation?.time ?? Date.now());
    const age = cell("Age", recommendation ? `${recommendation.age_ms} ms` : "–");
    age.className = "n";
    row.append(
      cell("Served", served.toISOString().slice(11, 23)),
      cell("User", link("users", event.user)),
      cell("Did", event.type),
      cell("Item", event.item ? link("items", event.item) : "–"),
      age,
      cell("And is shown", ...(items.length ? items : ["–"])),
    );
    tail.prepend(row);
    while (tail.rows.length > MOST) tail.lastChild.remove();
    document.getElementById("nothing").hidden = true;
  }

  function say(text, good) {
    state.textContent = text;
    state.className = good ? "state good" : "state";
  }

  let held = false;
  hold.addEventListener("click", () => {
    held = !held;
    hold.setAttribute("aria-pressed", held);
    hold.textContent = held ? "Go on" : "Hold";
    say(held ? "held" : "live", !held);
  });

  const source = new EventSource(`/live/stream${location.search}`);
  source.onopen = () => say("live", true);
  source.onerror = () => say("connection lost, trying again", false);
  source.onmessage = ({ data }) => held || show(JSON.parse(data));
  addEventListener("pagehide", () => source.close());
})();
