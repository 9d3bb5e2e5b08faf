// The table of classes: a click on a heading sorts, words in the field filter.

/** What a cell is sorted by: a number where it has one, else its text; nothing comes last. */
function sortKey(cell) {
  if (cell.dataset.value === undefined) return cell.textContent.trim().toLowerCase();
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compareKeys(one, other) {
  return typeof one === "string" ? one.localeCompare(other) : one - other;
}

/** Sort the rows by a column; rows without a value stay at the end. */
function sortRows(table, column, sign) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
  const empty = rows.filter(([key]) => key === null);
  const filled = rows.filter(([key]) => key !== null);
  filled.sort(([one], [other]) => sign * compareKeys(one, other));
  body.append(...[...filled, ...empty].map(([, row]) => row));
}

/** Make every heading a button. The first click sorts texts upwards and numbers downwards. */
function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const isText = head.classList.contains("text");
      const was = head.getAttribute("aria-sort");
      const ascending = was ? was === "descending" : isText;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortRows(table, column, ascending ? 1 : -1);
    });
  });
}

/** Show only the rows whose first cells contain the words of the field, and say how many they are. */
function makeSearchable(table, field, status) {
  const rows = [...table.tBodies[0].rows];
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    status.textContent = words.length ? `${shown} of ${rows.length} classes` : "";
  });
}

const classTable = document.getElementById("classes");
if (classTable) {
  makeSortable(classTable);
  makeSearchable(classTable, document.getElementById("search"), document.getElementById("search-status"));
  document.getElementById("search-line").hidden = false;
}

// What is wider than the window is reached by Tab and scrolled by arrow keys.
const wide = new ResizeObserver((entries) => {
  for (const { target } of entries) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
});
document.querySelectorAll(".scroll").forEach((element) => wide.observe(element));
