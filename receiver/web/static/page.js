// What the pages gain from JavaScript; without it everything is there all the same.

// Live parts listen for "tick". It comes every five seconds, but not while the tab is hidden or a text is selected.
const tick = () => {
  const reading = document.visibilityState === "visible" && getSelection().isCollapsed;
  if (reading) document.body.dispatchEvent(new Event("tick"));
};
setInterval(tick, 5000);
document.addEventListener("visibilitychange", tick);

// A live part takes over what an answer says of it. An answer that says nothing of it changes nothing: then the part
// stays as it is, and a notice above says why, and how old it is.
const refreshed = {};  // by the part's id: when it was last as the receiver has it
for (const part of document.querySelectorAll("[hx-get]")) refreshed[part.id] = new Date();
document.addEventListener("htmx:beforeSwap", ({detail: {xhr, target: part}}) => {
  const answer = new DOMParser().parseFromString(xhr.responseText, "text/html");
  const fresh = xhr.status === 200 && answer.getElementById(part.id);
  if (!fresh) return say(part, xhr.status);
  const focused = document.activeElement?.id;
  document.getElementById(`stale-${part.id}`)?.remove();
  refreshed[part.id] = new Date();
  update(part, fresh);
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({preventScroll: true});
});
for (const silence of ["htmx:sendError", "htmx:timeout"]) document.addEventListener(silence, ({detail}) => say(detail.target, 0));

// Why a part is old, in a notice that is written once for each cause: screen readers read every change aloud.
function say(part, status) {
  const here = location.pathname + location.search;
  const [cause, address, way] =
    status === 401 ? ["Your session has ended.", `${document.body.dataset.signIn}?next=${encodeURIComponent(here)}`, "Sign in again"] :
    status === 0 ? ["The receiver does not answer."] :
    status >= 500 ? [`The receiver answers with an error (${status}).`] :
    ["This part of the page can't be refreshed any more.", here, "Load the page again"];
  const id = `stale-${part.id}`;
  let notice = document.getElementById(id);
  if (notice?.dataset.cause === cause) return;
  notice?.remove();
  notice = Object.assign(document.createElement("p"), {id, className: "notice alarm", role: "alert"});
  notice.dataset.cause = cause;
  const moment = refreshed[part.id].toISOString();
  notice.append(`${cause} What is shown below is as of ${moment.slice(0, 10)} ${moment.slice(11, 19)} UTC. `);
  if (way) notice.append(Object.assign(document.createElement("a"), {href: address, textContent: way}));
  document.getElementById(part.id).before(notice);
}

// Make the old node say what the fresh one says, and touch only what differs: what has the focus keeps it, and an alert
// that is the same is not read again.
function update(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (!alike(old, fresh)) {
    old.replaceWith(fresh);
    if (fresh.nodeType === Node.ELEMENT_NODE) htmx.process(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return;
  }
  for (const {name} of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const {name, value} of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  let here = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    let twin = here;
    if (key(child)) while (twin && key(twin) !== key(child)) twin = twin.nextSibling;
    else if (twin && (key(twin) || !alike(twin, child))) twin = null;
    if (!twin) {
      old.insertBefore(child, here);
      continue;
    }
    for (let gone = here; gone !== twin; gone = here) {
      here = gone.nextSibling;
      gone.remove();
    }
    here = twin.nextSibling;
    update(twin, child);
  }
  while (here) {
    const gone = here;
    here = here.nextSibling;
    gone.remove();
  }
}
const alike = (old, fresh) => old.nodeName === fresh.nodeName && old.id === fresh.id &&
  (old.nodeType !== Node.ELEMENT_NODE || old.getAttribute("hx-get") === fresh.getAttribute("hx-get"));
const key = (node) => node.id || (node.nodeType === Node.ELEMENT_NODE && node.getAttribute("role") === "alert" && node.textContent);

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
