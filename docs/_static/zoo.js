// The model zoo's table shows the rows that have all words of the field above it.
document.addEventListener("DOMContentLoaded", () => {
  const field = document.querySelector(".zoo-filter");
  const count = document.querySelector(".zoo-count");
  if (!field) return;
  const rows = [...document.querySelectorAll("table tbody tr")];
  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word));
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${rows.length} models`;
  };
  field.value = new URLSearchParams(location.search).get("q") ?? "";  // zoo.html?q=dhvt
  field.addEventListener("input", show);
  show();
});
