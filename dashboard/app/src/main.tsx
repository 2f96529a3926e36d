import "./styles/tokens.css";
import "./styles/base.css";
import { connect } from "@fleetcast/client";
import { FleetcastProvider } from "@fleetcast/client/react";
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.tsx";
import { makeQueryClient } from "./lib/queries.ts";
import { token } from "./shell/token.ts";
import { TooltipProvider } from "./ui/Tooltip.tsx";
import { fetchViewsLater } from "./views.ts";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");

const client = connect({ token });

createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={makeQueryClient()}>
      <FleetcastProvider client={client}>
        <TooltipProvider>
          <App />
        </TooltipProvider>
      </FleetcastProvider>
    </QueryClientProvider>
  </StrictMode>,
);

fetchViewsLater();
