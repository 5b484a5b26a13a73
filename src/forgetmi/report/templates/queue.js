// Counts the days anew, then sorts and filters (sort_filter.js); without a script the page says the same, as of its own day.
(() => {
  const table = document.querySelector(".queue");
  const form = document.getElementById("choose");
  const rows = [...table.tBodies[0].rows];
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

  rows.forEach(countDays);
  countRows();
  sortAndFilter(table, form);
})();
