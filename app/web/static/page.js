// What the pages gain from JavaScript; without it everything is there all the same.

// Live parts listen for "tick": every five seconds, never while the tab is hidden or somebody marks a text to copy it.
setInterval(() => {
  const reading = document.visibilityState === "visible" && getSelection().isCollapsed;
  if (reading) document.body.dispatchEvent(new Event("tick"));
}, 5000);

// A button with data-copy="ID" copies that element's text.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {  // no clipboard on plain HTTP: select it instead
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl-C";
    }
  });
}

// A form that is on its way is not sent twice. The server would not do it twice either.
document.addEventListener("submit", (event) => {
  if (event.target.method === "post") setTimeout(() => {
    for (const button of event.target.querySelectorAll("button")) button.disabled = true;
  });
});
addEventListener("pageshow", (event) => {  // back again, with the page as it was left
  if (event.persisted) for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});
