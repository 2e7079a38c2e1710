// Types for the import path that noVNC's npm package really has; @types/novnc__novnc describes an older one.

declare module "@novnc/novnc" {
  export { default } from "@novnc/novnc/lib/rfb";
}
