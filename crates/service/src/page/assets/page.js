// Nothing here is needed to read the page: it follows a run, and copies commands.
"use strict";

// While a run is at work, the page is fetched again and its content replaced.
const follow = async () => {
  const main = document.querySelector("main");
  if (!main || !main.querySelector("[data-live]")) return;
  await new Promise((done) => setTimeout(done, 2000));
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
      if (answer.ok) {
        const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
        // Whoever is at a field or a button keeps it.
        if (next && !main.contains(document.activeElement)) main.replaceChildren(...next.childNodes);
        prepare();
      }
    } catch {
      // The session or the service has ended: the page stays as it is until somebody loads it again.
      return;
    }
  }
  follow();
};

const prepare = () => {
  // The newest end of what is wider than the window.
  for (const box of document.querySelectorAll("[data-from-end]")) box.scrollLeft = box.scrollWidth;
  if (!navigator.clipboard) return;
  for (const command of document.querySelectorAll("pre.command:not(.has-copy)")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    command.classList.add("has-copy");
    command.append(button);
  }
};

prepare();
follow();
