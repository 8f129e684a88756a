// A click on a heading sorts by its column. Undefined values go to the end whichever way; names sort back into the classes' own order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => (key(a) === "") - (key(b) === "") || (key(a) - key(b)) * (ascending ? 1 : -1));
    table.tBodies[0].append(...rows);
  }));
}
// A click on a picture shows it in full size, to be scrolled, and another one fits it to the page again.
for (const image of document.querySelectorAll("figure img"))
  image.addEventListener("click", () => image.classList.toggle("full"));
