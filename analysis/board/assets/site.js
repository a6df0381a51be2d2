"use strict";
// Sorting, filtering and the theme switch. Without this file every page still shows everything.

const SVG = "http://www.w3.org/2000/svg";

function themeSwitch() {
  const root = document.documentElement, button = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const say = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`); };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch (error) { /* private windows keep nothing */ }
    say();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
  say();
}

function number(text) {
  return text === "inf" ? Infinity : text === "" || text === "–" ? NaN : Number(text.replaceAll(",", ""));
}

function key(row, column, kind) {
  const text = row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
  return kind === "text" ? text : number(text);
}

// Rows without a number stay at the end in both directions; ties keep the order of the page.
function compare(one, other, kind, sign) {
  if (kind === "text") return sign * one.localeCompare(other, "en", { numeric: true });
  if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other);
  return one === other ? 0 : sign * (one < other ? -1 : 1);
}

function sortable(table, changed) {
  const body = table.tBodies[0], order = [...body.rows], heads = [...table.tHead.rows[0].cells];
  let column = -1, sign = 0;
  const sort = () => {
    const kind = column < 0 ? "" : heads[column].dataset.sort;
    const keyed = order.map((row, index) => ({ row, index, value: sign ? key(row, column, kind) : 0 }));
    if (sign) keyed.sort((a, b) => compare(a.value, b.value, kind, sign) || a.index - b.index);
    body.append(...keyed.map(one => one.row));
    heads.forEach((head, index) => {
      if (!head.dataset.sort) return;
      head.setAttribute("aria-sort", index === column && sign ? (sign > 0 ? "ascending" : "descending") : "none");
    });
    const name = sign ? heads[column].querySelector("button").firstChild.textContent.trim() : "";
    changed(sign ? `Sorted by ${name}, ${sign > 0 ? "ascending" : "descending"}.` : "In the order of the suites.");
  };
  heads.forEach((head, index) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    button.firstChild.after(arrow);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      sign = index !== column ? 1 : sign > 0 ? -1 : sign < 0 ? 0 : 1;
      column = index;
      sort();
    });
  });
  return () => { column = -1; sign = 0; sort(); };
}

function draw(parent, name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  parent.append(made);
  return made;
}

// One metric of all shown rows on one logarithmic axis: interval and value, the floor's band, the ceiling's line.
function drawStrips(rows, metric) {
  const cell = row => row.querySelector(`td[data-metric="${metric}"]`);
  const numbers = row => ["v", "low", "high"].map(name => number(cell(row).dataset[name] ?? cell(row).dataset.v));
  const known = rows.filter(row => Number.isFinite(numbers(row)[0]));
  const positive = known.flatMap(numbers).filter(value => value > 0);
  const low = 10 ** (Math.floor(Math.log10(Math.min(...positive)) * 2) / 2), high = Math.max(...positive) * 1.1;
  const place = value => 240 * Math.log(Math.max(value, low) / low) / Math.log(high / low);
  const group = row => `${row.dataset.suite} ${row.dataset.residues} ${row.dataset.budget}`;
  const yardstick = kind => new Map(known.filter(row => row.dataset.kind === kind).map(row => [group(row), numbers(row)]));
  const floors = yardstick("floor"), ceilings = yardstick("ceiling");
  for (const row of rows) {
    const target = row.querySelector("td.strip"), over = row.querySelector("td.over");
    over.textContent = cell(row).dataset.over ?? "–";
    target.replaceChildren();
    if (!known.includes(row)) continue;
    const [value, from, to] = numbers(row);
    const picture = draw(target, "svg", { viewBox: "0 0 240 20", "aria-hidden": "true" });
    const floor = floors.get(group(row)), ceiling = ceilings.get(group(row));
    if (floor) draw(picture, "rect", { class: "band", x: place(floor[1]), width: Math.max(place(floor[2]) - place(floor[1]), 1), y: 0, height: 20 });
    if (ceiling) draw(picture, "path", { class: "ceiling", d: `M${place(ceiling[0])} 0v20` });
    draw(picture, "path", { class: "whisker", stroke: row.dataset.colour, d: `M${place(from)} 10H${place(to)}` });
    draw(picture, "circle", { cx: place(value), cy: 10, r: 4, fill: row.dataset.colour });
  }
  const short = value => Number(value.toPrecision(2)).toString();
  return positive.length ? [`${short(low)} to ${short(high)}, logarithmic`, "band: floor · dashes: ceiling"] : ["", ""];
}

function board() {
  const table = document.getElementById("scores"), form = document.getElementById("filters");
  if (!table) return;
  const rows = [...table.tBodies[0].rows], said = document.getElementById("said");
  let sorted = "";
  const metrics = [...form.elements.metric.options].map(option => option.value).filter(Boolean);

  const show = () => {
    const wanted = Object.fromEntries(["suite", "residues", "budget", "metric"].map(name => [name, form.elements[name].value]));
    const shown = rows.filter(row => {
      const fits = ["suite", "residues", "budget"].every(name => !wanted[name] || row.dataset[name] === wanted[name]);
      row.hidden = !fits || (row.dataset.kind !== "method" && !form.elements.controls.checked);
      return !row.hidden;
    });
    for (const cell of table.querySelectorAll("[data-metric]")) cell.hidden = Boolean(wanted.metric) && cell.dataset.metric !== wanted.metric;
    for (const cell of table.querySelectorAll(".strip, .over")) cell.hidden = !wanted.metric;
    if (wanted.metric) drawStrips(shown, wanted.metric).forEach((text, index) => { table.querySelector("th.strip").children[index].textContent = text; });
    // A column that says the same in every row says nothing.
    for (const [index, name] of [[1, "suite"], [2, "residues"]]) {
      const same = Boolean(wanted[name]) || form.elements[name].options.length < 3;
      for (const row of table.rows) row.cells[index].hidden = same;
    }
    let before = null;
    for (const row of [...table.tBodies[0].rows].filter(row => !row.hidden)) {
      const group = `${row.dataset.suite} ${row.dataset.residues} ${row.dataset.budget}`;
      row.classList.toggle("first-of-group", !sorted.startsWith("Sorted") && before !== null && group !== before);
      before = group;
    }
    document.getElementById("empty").hidden = shown.length > 0;
    table.parentElement.hidden = shown.length === 0;
    said.textContent = `${shown.length} of ${rows.length} rows. ${sorted}`;
    remember(wanted);
  };

  // The filters stand in the address, so that a view can be sent to someone.
  const remember = wanted => {
    const set = Object.entries(wanted).filter(([, value]) => value);
    if (set.length || location.hash.startsWith("#show:")) {
      history.replaceState(null, "", set.length ? "#show:" + new URLSearchParams(set) : "#board");
    }
  };
  const recall = () => {
    const asked = location.hash.startsWith("#show:") ? new URLSearchParams(location.hash.slice(6)) : null;
    for (const [name, value] of asked ?? []) {
      const select = form.elements[name];
      if (select && [...select.options].some(option => option.value === value)) select.value = value;
    }
    if (!asked && document.documentElement.clientWidth < 704) form.elements.metric.value = metrics.includes("torus-w2") ? "torus-w2" : metrics[0] ?? "";
  };

  const unsort = sortable(table, text => { sorted = text; show(); });
  form.hidden = false;
  form.addEventListener("change", show);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { unsort(); show(); }));
  addEventListener("hashchange", () => { if (location.hash.startsWith("#show:")) { recall(); show(); } });
  recall();
  show();
}

themeSwitch();
board();
for (const table of document.querySelectorAll("table.sortable:not(#scores)")) sortable(table, () => {});
