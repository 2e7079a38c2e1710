// The address of the WebSocket is this page's fragment.
import RFB from "/novnc/core/rfb.js";

const said = document.documentElement.dataset;
const rfb = new RFB(document.getElementById("screen"), decodeURIComponent(location.hash.slice(1)));
rfb.addEventListener("connect", () => (said.state = "connected"));
rfb.addEventListener("securityfailure", (event) => {
  said.status = event.detail.status;
  said.refusal = event.detail.reason;
});
rfb.addEventListener("credentialsrequired", () => (said.credentials = "wanted"));
rfb.addEventListener("clipboard", (event) => (said.clipboard = event.detail.text));
rfb.addEventListener("disconnect", () => (said.state = "ended"));

globalThis.rfb = rfb;
