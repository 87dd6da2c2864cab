const collator = new Intl.Collator("en", { numeric: true });
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const body = header.closest("table").tBodies[0];
    const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const text = (row) => {
      const cell = row.cells[header.cellIndex];
      return cell.dataset.sort ?? cell.textContent.trim();
    };
    const number = (row) => Number(text(row).replaceAll(",", ""));
    const compare = header.classList.contains("n")
      ? (left, right) => number(left) - number(right)
      : (left, right) => collator.compare(text(left), text(right));
    const rows = [...body.rows].sort((left, right) => direction * compare(left, right));
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    body.append(...rows);
  });
}
