import { FleetcastError } from "@fleetcast/client";
import { QueryClient } from "@tanstack/react-query";

/** What comes by the connection is new by itself: nothing is asked for again because a window got the focus. */
export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        gcTime: 5 * 60_000,
        refetchOnWindowFocus: false,
        retry: (failures, error) => failures < 2 && isPassing(error),
        retryDelay: (failures) => Math.min(1000 * 2 ** failures, 15_000) * (0.5 + Math.random() / 2),
      },
    },
  });
}

/** Whether asking again may help: not where the edge has said no. */
function isPassing(error: Error): boolean {
  if (!(error instanceof FleetcastError)) return true;
  const { status } = error;
  return status === null || status === 429 || status >= 500;
}
