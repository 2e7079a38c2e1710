// What noVNC knows and does not tell: read from its private members, in this file only. Its version is pinned, and the
// tests against real hosts fail if these change.

import type RFB from "@novnc/novnc";

interface Inside {
  readonly _qemuExtKeyEventSupported?: boolean;
  readonly _supportsFence?: boolean;
  readonly _clipboardServerCapabilitiesFormats?: Readonly<Record<number, boolean>>;
}

/** ExtendedClipboard's format bit for text (rfbproto, "Extended Clipboard Pseudo-Encoding"). */
const TEXT_FORMAT = 1;

const inside = (rfb: RFB): Inside => rfb as unknown as Inside;

/**
 * The host takes keys by their place on the keyboard (QEMU Extended Key Event). TigerVNC announces that as well and goes by
 * the keysym all the same, unless it is told not to; it is known by its fences, which QEMU does not have.
 */
export function takesPlaces(rfb: RFB): boolean {
  return inside(rfb)._qemuExtKeyEventSupported === true && inside(rfb)._supportsFence !== true;
}

/** The host takes any text on its clipboard, not Latin-1 only (Extended Clipboard). */
export function takesAnyText(rfb: RFB): boolean {
  return inside(rfb)._clipboardServerCapabilitiesFormats?.[TEXT_FORMAT] === true;
}
