"use strict";
// Relative times, copied text, and the fragments that the facility sends when something changed.
const spans = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [2592000, 86400, "d"]];
function ago(text) {
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  if (!(seconds >= 0)) return text.slice(0, 16).replace("T", " ") + " UTC";
  if (seconds < 10) return "just now";
  for (const [below, unit, word] of spans) if (seconds < below) return Math.floor(seconds / unit) + " " + word + " ago";
  return text.slice(0, 10);
}
function age(root) {
  for (const time of root.querySelectorAll("time:not(.exact)")) time.textContent = ago(time.dateTime);
}
age(document);
setInterval(() => age(document), 10000);

for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", async () => {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source);
    button.textContent = "Selected: press Ctrl+C";
  }
});

const fleet = document.querySelector("[data-live]");
if (fleet) {
  const table = document.querySelector("[data-live-table]");
  const announcer = document.getElementById("announcer");
  const parse = html => {
    const box = document.createElement("template");
    box.innerHTML = html.trim();
    age(box.content);
    return box.content.firstElementChild;
  };
  const place = card => {
    const after = [...fleet.children].find(other => other.dataset.name > card.dataset.name);
    fleet.insertBefore(card, after || null);
    document.getElementById("blank").hidden = true;
  };
  const replace = (old, fresh) => {
    // A reader who stands on a link in the fragment keeps standing there.
    const link = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
    old.replaceWith(fresh);
    if (link) fresh.querySelector('a[href="' + CSS.escape(link) + '"]')?.focus();
    if (old.dataset.said !== fresh.dataset.said && fresh.dataset.said) announcer.textContent = fresh.dataset.said;
  };
  const source = new EventSource("/events");
  source.onmessage = event => {
    const { id, html } = JSON.parse(event.data);
    if (id === "recent" && !table) return;
    const old = document.getElementById(id), fresh = parse(html);
    if (old) replace(old, fresh);
    else if (id.startsWith("scope-")) place(fresh);
  };
  source.onerror = () => {
    const link = document.getElementById("link");
    link.className = "link away";
    link.textContent = "the facility does not answer: trying again";
  };
}
