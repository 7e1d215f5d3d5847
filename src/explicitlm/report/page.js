"use strict";
const rows = [...document.querySelectorAll("#experiments tbody tr")];
const heads = [...document.querySelectorAll("#experiments th")];
const names = heads.map((head) => head.dataset.name);
const value = (row, place) => {
  const cell = row.children[place];
  return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
};
const missing = (row, place) => row.children[place].textContent === "-";

function sortBy(head) {
  const place = heads.indexOf(head);
  const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
  rows.sort((a, b) => {
    if (missing(a, place) || missing(b, place)) return missing(a, place) - missing(b, place);
    const x = value(a, place), y = value(b, place);
    if (typeof x === typeof y && x !== y) return (x < y ? -1 : 1) * down;
    return typeof x === typeof y ? 0 : (typeof x === "number" ? -1 : 1) * down;
  });
  document.querySelector("#experiments tbody").append(...rows);
}
heads.forEach((head) => head.querySelector("button").addEventListener("click", () => sortBy(head)));

const tests = {
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
  "=": (a, b) => a === b, "!=": (a, b) => a !== b,
};
function condition(word) {
  const found = /^([\w.]+)(<=|>=|!=|<|>|=)(.+)$/.exec(word);
  const place = found ? names.indexOf(found[1]) : -1;
  if (place < 0) return (row) => row.textContent.toLowerCase().includes(word.toLowerCase());
  return (row) => {
    const here = value(row, place);
    const wanted = typeof here === "number" ? Number(found[3]) : found[3];
    return !missing(row, place) && tests[found[2]](here, wanted);
  };
}
function filter() {
  const conditions = document.querySelector("#filter").value.split(/\s+/).filter(Boolean).map(condition);
  const shown = new Set();
  for (const row of rows) {
    row.hidden = !conditions.every((holds) => holds(row));
    if (!row.hidden) shown.add(row.dataset.id);
  }
  document.querySelectorAll("svg [data-id]").forEach((mark) => mark.classList.toggle("faded", !shown.has(mark.dataset.id)));
  document.querySelectorAll("#details details").forEach((part) => { part.hidden = !shown.has(part.id.slice(2)); });
  document.querySelector("#count").textContent = `${shown.size} of ${rows.length}`;
}
document.querySelector("#filter").addEventListener("input", filter);
filter();

document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", () => {
  const text = button.parentElement.querySelector("pre");
  const range = document.createRange();
  range.selectNodeContents(text);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  if (navigator.clipboard) navigator.clipboard.writeText(text.textContent).catch(() => {});
  button.textContent = "copied";
}));
let opened = [];
addEventListener("beforeprint", () => { // on paper nothing can be opened
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));

function openTarget() {
  const part = location.hash.startsWith("#x-") && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (part) part.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
