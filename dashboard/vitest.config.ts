import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const client = fileURLToPath(new URL("client/src/", import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: "@fleetcast/client/react", replacement: `${client}react/index.ts` },
      { find: "@fleetcast/client", replacement: `${client}index.ts` },
    ],
  },
  test: { include: ["client/test/**/*.test.{ts,tsx}", "app/test/**/*.test.{ts,tsx}"], environment: "node" },
});
