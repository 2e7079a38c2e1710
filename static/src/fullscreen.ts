// Full screen, with the keys that the browser would keep for itself going to the machine where it lets us.

interface KeyboardLock {
  lock(): Promise<void>;
  unlock(): void;
}

const keyboard = (navigator as Navigator & { keyboard?: KeyboardLock }).keyboard;

export function canFullscreen(): boolean {
  return document.fullscreenEnabled;
}

export async function toggleFullscreen(): Promise<void> {
  if (document.fullscreenElement !== null) {
    await document.exitFullscreen();
    return;
  }
  await document.documentElement.requestFullscreen();
  await keyboard?.lock?.().catch(() => undefined); // Escape and Alt-Tab for the machine; holding Escape leaves
}

document.addEventListener("fullscreenchange", () => {
  if (document.fullscreenElement === null) {
    keyboard?.unlock?.();
  }
});
