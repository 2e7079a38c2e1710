// The way out of the screen without a mouse. The machine gets every key, Tab too, so the keyboard would be caught:
// pressing and letting go of Ctrl, Alt and Shift together, with no other key, calls `leave`.

const CHORD: ReadonlySet<string> = new Set(["Control", "Alt", "Shift"]);

export function watchForChord(screen: HTMLElement, leave: () => void): void {
  let complete = false;
  let spoilt = false;

  screen.addEventListener(
    "keydown",
    (event) => {
      spoilt ||= !CHORD.has(event.key) && event.key !== "Meta"; // Shift+Alt is "Meta" on some systems
      complete ||= event.ctrlKey && event.altKey && event.shiftKey;
    },
    { capture: true },
  );
  screen.addEventListener(
    "keyup",
    (event) => {
      if (event.ctrlKey || event.altKey || event.shiftKey || event.metaKey) {
        return;
      }
      const leaving = complete && !spoilt;
      complete = spoilt = false;
      if (leaving) {
        setTimeout(leave, 0); // once noVNC has told the machine that the key is up
      }
    },
    { capture: true },
  );
}
