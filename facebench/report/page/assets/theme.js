// Light or dark: as the system has it, until the button says otherwise.

const dark = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  return document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
}

function nameTheme() {
  byId("theme").textContent = theme() === "dark" ? "Light mode" : "Dark mode";
}

byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
  nameTheme();
  update({ theme: theme() });
});
dark.addEventListener("change", () => {
  nameTheme();
  update({ theme: theme() });
});
nameTheme();

// Paper is white, and narrower than most windows.
let chosenTheme;
addEventListener("beforeprint", () => {
  chosenTheme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  update({ theme: "light", printing: true });
});
addEventListener("afterprint", () => {
  if (chosenTheme) document.documentElement.dataset.theme = chosenTheme;
  else delete document.documentElement.dataset.theme;
  update({ theme: theme(), printing: false });
});
