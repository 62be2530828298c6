// Sorts the tables in `div.models` by a click on a column, and filters their rows by words.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("div.models table")) {
    const body = table.tBodies[0]
    const rows = [...body.rows]
    const heads = [...table.tHead.rows[0].cells]
    const filter = Object.assign(document.createElement("input"), {
      type: "search",
      placeholder: "Filter, as in: quicknet ImageNet measured",
      ariaLabel: "Filter the models",
    })
    table.closest("div.models").prepend(filter)
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/)
      for (const row of rows) {
        const text = row.textContent.toLowerCase()
        row.hidden = !words.every((word) => text.includes(word))
      }
    })
    heads.forEach((head, column) => {
      const button = document.createElement("button")
      button.append(...head.childNodes)
      head.append(button)
      button.addEventListener("click", () => {
        const falls = head.ariaSort === "ascending"
        heads.forEach((other) => (other.ariaSort = null))
        head.ariaSort = falls ? "descending" : "ascending"
        rows.sort((a, b) => compare(a.cells[column], b.cells[column], falls ? -1 : 1))
        body.append(...rows)
      })
    })
  }
})

// Compares numbers by value and text by letters; cells without a value are always last.
function compare(a, b, direction) {
  const [x, y] = [a, b].map((cell) => cell.textContent.trim())
  if (x === "–" || y === "–") return (x === "–") - (y === "–")
  const [m, n] = [x, y].map((text) => parseFloat(text.replaceAll(",", "")))
  const order = isNaN(m) || isNaN(n) ? x.localeCompare(y) : m - n
  return direction * order
}
