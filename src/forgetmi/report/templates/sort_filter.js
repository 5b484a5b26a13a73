"use strict";
// Sorts and filters a table by the data-* attributes of its rows. Every control of the form but `sort` is named like the
// attribute that it filters: a list by equality ("none" = the attribute is empty), a number as the most that is shown,
// `find` by the words of a row. Without a script form and buttons are not there, and the table is read as it stands.
function sortAndFilter(table, form) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.querySelectorAll("th[data-key]")];
  const numeric = new Set(heads.filter((head) => "number" in head.dataset).map((head) => head.dataset.key));
  const controls = [...form.elements].filter((one) => one.name && one.name !== "sort");
  const place = new Map(rows.map((row, index) => [row, index]));

  // By one column, empty values last either way, ties as the table stands; "" is the order in which it stands
  function compare(key, down) {
    const first = (a, b) => place.get(a) - place.get(b);
    if (!key) return first;
    return (a, b) => {
      const [one, other] = [a.dataset[key], b.dataset[key]];
      if (!one || !other) return Number(!one) - Number(!other) || first(a, b);
      const difference = numeric.has(key) ? Number(one) - Number(other) : one.localeCompare(other);
      return difference * (down ? -1 : 1) || first(a, b);
    };
  }

  let down = false;
  function sort() {
    const key = form.elements.sort.value;
    body.append(...rows.sort(compare(key, down)));
    for (const head of heads) {
      if (head.dataset.key === key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function fits(row, control) {
    const wanted = control.value.trim();
    if (!wanted) return true;
    if (control.name === "find") return row.textContent.toLowerCase().includes(wanted.toLowerCase());
    const has = row.dataset[control.name];
    if (control.type === "number") return Boolean(has) && Number(has) <= Number(wanted);
    return wanted === "none" ? !has : has === wanted;
  }

  // What of a figure leads to a row goes and comes with it
  function filter() {
    for (const row of rows) {
      row.hidden = !controls.every((control) => fits(row, control));
      if (!row.id) continue;
      for (const link of document.querySelectorAll(`a[href="#${row.id}"]`)) link.toggleAttribute("hidden", row.hidden);
    }
    const left = rows.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = `${left} of ${rows.length} shown`;
  }

  // A click on a heading sorts by it, a second one the other way round
  for (const head of heads) {
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
  form.addEventListener("input", filter);
  form.elements.sort.addEventListener("change", () => { down = false; sort(); });

  form.hidden = false;
  filter();
  sort();
}
