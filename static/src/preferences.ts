// What the page remembers in this browser: how a person likes to look at consoles. Nothing about any console.

const PREFIX = "trio-cpvm.";

export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null; // the browser keeps nothing for this page
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // likewise
  }
}
