const review = document.getElementById("review");
const status = document.getElementById("review-status");
const articles = [...document.querySelectorAll("article")];
const verdictOf = (article) => article.querySelector("input[type=radio]:checked")?.value;
const unmarked = () => articles.filter((article) => !verdictOf(article));
let isSaved = true;

function show() {
  const left = unmarked().length;
  const issues = articles.filter((article) => verdictOf(article) === "issue").length;
  status.textContent = `${articles.length - left} of ${articles.length} marked, ${issues} with an issue`;
  document.getElementById("review-progress").value = articles.length - left;
  for (const article of articles) article.dataset.verdict = verdictOf(article) ?? "";
}

function goTo(article) {
  article.scrollIntoView({ block: "start" });
  article.focus({ preventScroll: true });
}

function save() {
  const [first] = unmarked();
  if (first) {
    goTo(first);
    status.textContent = `${unmarked().length} ${review.dataset.noun}s are not marked yet: here is the first of them`;
    return;
  }
  const { stage, runId, seed } = review.dataset;
  const images = articles.map((article) => ({
    row_id: JSON.parse(article.dataset.rowId),
    fine: verdictOf(article) === "fine",
    remark: article.querySelector("input[type=text]").value,
  }));
  const reviewer = document.getElementById("reviewer").value;
  const saved = { stage, run_id: runId, seed, reviewer, reviewed_at: new Date().toISOString(), images };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(saved, null, 2)], { type: "application/json" }));
  link.download = `spot-check-review-${stage}-${seed}.json`;
  link.click();
  isSaved = true;
  status.textContent = `Saved as ${link.download}. Now record it with the command above`;
}

document.addEventListener("input", () => { isSaved = false; show(); });
document.getElementById("review-save").addEventListener("click", save);
addEventListener("beforeunload", (event) => { if (!isSaved) event.preventDefault(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text]")) return;
  const here = articles.indexOf(document.activeElement.closest("article"));
  const value = { f: "fine", x: "issue" }[event.key];
  if (event.key === "n") goTo(articles[Math.min(here + 1, articles.length - 1)]);
  else if (event.key === "p") goTo(articles[Math.max(here - 1, 0)]);
  else if (value && here < 0) goTo(articles[0]);
  else if (value) {
    articles[here].querySelector(`input[value=${value}]`).click();
    // A record that is not fine may need a remark.
    if (value === "fine" && here + 1 < articles.length) goTo(articles[here + 1]);
  }
  else return;
  event.preventDefault();
});
review.hidden = document.getElementById("review-bar").hidden = false;
show();
