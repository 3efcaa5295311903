"use strict";
const body = document.querySelector("#cases tbody");
const value = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
function compare(a, b) {
  if (a === b) return 0;
  if (a === "") return 1;
  if (b === "") return -1;
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
}
for (const heading of document.querySelectorAll("#cases th button")) {
  heading.addEventListener("click", () => {
    const cell = heading.parentElement;
    const turn = cell.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of cell.parentElement.cells) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => [value(row, cell.cellIndex), row]);
    rows.sort((a, b) => (a[0] === "" || b[0] === "" ? 1 : turn) * compare(a[0], b[0]));
    body.append(...rows.map((pair) => pair[1]));
  });
}
const search = document.querySelector("#search");
const boxes = [...document.querySelectorAll("#show input")];
function show() {
  const words = search.value.toLowerCase();
  const shown = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  for (const row of body.rows) row.hidden = !shown.has(row.className) || !row.dataset.text.toLowerCase().includes(words);
}
search.addEventListener("input", show);
for (const box of boxes) box.addEventListener("change", show);
