"use strict";
// Counts the days anew, then sorts and filters; without a script the page says the same, as of its own day.
(() => {
  const table = document.querySelector(".queue");
  const form = document.getElementById("choose");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const soon = Number(table.dataset.soon);
  const signs = { overdue: "‼", soon: "▲", later: "●" };
  const day = 24 * 60 * 60 * 1000;

  // Days as the calendar counts them, whatever the hour and the clock change
  const now = new Date();
  const today = Date.UTC(now.getFullYear(), now.getMonth(), now.getDate());
  const many = (count) => (count === 1 ? "1 day" : `${count} days`);

  function countDays(row) {
    if (row.dataset.final) return;
    const left = Math.round((Date.parse(row.dataset.due) - today) / day);
    const urgency = left < 0 ? "overdue" : left <= soon ? "soon" : "later";
    const words = left < 0 ? `overdue by ${many(-left)}` : left ? `${many(left)} left` : "due today";
    const shown = row.querySelector(".left");
    row.dataset.urgency = urgency;
    shown.className = `left ${urgency}`;
    shown.querySelector(".sign").textContent = signs[urgency];
    shown.querySelector(".words").textContent = words;
  }

  function countRows() {
    for (const place of document.querySelectorAll("[data-count]")) {
      const wanted = place.dataset.count;
      place.textContent = rows.filter((row) => row.dataset.urgency === wanted).length;
    }
    const shown = document.getElementById("today");
    shown.dateTime = shown.textContent = new Date(today).toISOString().slice(0, 10);
  }

  // What is pending first, by deadline; or by one column, empty values last
  function compare(key, down) {
    if (key === "urgency") {
      const rank = (row) => (row.dataset.final ? "1" : "0") + row.dataset.due + row.dataset.number;
      return (a, b) => rank(a).localeCompare(rank(b));
    }
    return (a, b) => {
      const [first, second] = [a.dataset[key], b.dataset[key]];
      if (!first || !second) return Number(!first) - Number(!second);
      return first.localeCompare(second) * (down ? -1 : 1) || a.dataset.number.localeCompare(b.dataset.number);
    };
  }

  let down = false;
  function sort() {
    const key = form.elements.sort.value;
    body.append(...rows.sort(compare(key, down)));
    for (const head of table.querySelectorAll("th[data-key]")) {
      if (head.dataset.key === key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function filter() {
    const { state, urgency, verdict, find } = form.elements;
    const words = find.value.trim().toLowerCase();
    for (const row of rows) {
      const has = row.dataset;
      const wanted = verdict.value === "none" ? !has.verdict : !verdict.value || has.verdict === verdict.value;
      const fits = (!state.value || has.state === state.value) && (!urgency.value || has.urgency === urgency.value)
        && wanted && (!words || row.textContent.toLowerCase().includes(words));
      row.hidden = !fits;
    }
    const left = rows.filter((row) => !row.hidden).length;
    document.getElementById("shown").textContent = `${left} of ${rows.length} shown`;
  }

  // A click on a heading sorts by it, a second one the other way round
  for (const head of table.querySelectorAll("th[data-key]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      down = form.elements.sort.value === head.dataset.key && !down;
      form.elements.sort.value = head.dataset.key;
      sort();
    });
    head.replaceChildren(button);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { filter(); });
  form.elements.sort.addEventListener("change", () => { down = false; sort(); });

  rows.forEach(countDays);
  countRows();
  form.hidden = false;
  filter();
  sort();
})();
