import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const client = fileURLToPath(new URL("../client/src/", import.meta.url));
const edge = process.env["FLEETCAST_EDGE"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  resolve: {
    alias: [
      { find: "@fleetcast/client/react", replacement: `${client}react/index.ts` },
      { find: "@fleetcast/client", replacement: `${client}index.ts` },
    ],
  },
  // The edge serves it from inside the Python package.
  build: {
    outDir: fileURLToPath(new URL("../../services/edge/static/dashboard/", import.meta.url)),
    emptyOutDir: true,
    assetsInlineLimit: 0, // nothing inline: the page's Content-Security-Policy allows no inline scripts
    modulePreload: { polyfill: false },
  },
  // `npm run dev`: this page with an edge that runs already.
  server: { proxy: { "/api": { target: edge, ws: true, changeOrigin: false } } },
});
