/** A host as it is now: each part of its last sample. */

import type { Disk, HostMetrics, NetworkInterface, Temperature } from "@fleetcast/client";
import { bytes, bytesPerSec, percent } from "../lib/format.ts";
import { Meter } from "../ui/Meter.tsx";
import { Card } from "./Card.tsx";
import css from "./NowPanel.module.css";
import { useHostMetrics } from "./useHostMetrics.ts";

export function NowPanel({ host }: { readonly host: string }) {
  const { metrics, stale } = useHostMetrics(host);
  if (metrics === null) return null;
  const { data } = metrics;
  const isOld = (part: string) => stale || data.stale.includes(part);
  return (
    <>
      <Card title="CPU now" aside={percent(data.cpu.percent, 1)} stale={isOld("cpu")}>
        <Cores percents={data.cpu.perCorePercent} />
      </Card>
      <Card title="Memory now" stale={isOld("memory")}>
        <MemoryRow name="Memory" part={data.memory} />
        {data.swap.totalBytes > 0 && <MemoryRow name="Swap" part={data.swap} />}
      </Card>
      <Card title="Disks" aside={<NotRead part="disks" data={data} />} stale={isOld("disks")}>
        <Disks disks={data.disks} />
      </Card>
      <Card title="Network interfaces" aside={<NotRead part="network" data={data} />} stale={isOld("network")}>
        <Interfaces network={data.network} />
      </Card>
      {data.temperatures.length > 0 && (
        <Card title="Sensors" aside={<NotRead part="temperatures" data={data} />} stale={isOld("temperatures")}>
          <Sensors temperatures={data.temperatures} />
        </Card>
      )}
    </>
  );
}

function NotRead({ part, data }: { readonly part: string; readonly data: HostMetrics }) {
  return data.stale.includes(part) ? <span>not read in time</span> : null;
}

function Cores({ percents }: { readonly percents: readonly number[] }) {
  const highest = Math.max(...percents);
  const label = `${percents.length} cores, the busiest is core ${percents.indexOf(highest)} at ${percent(highest)}`;
  return (
    <div className={css["cores"]} role="img" aria-label={label}>
      {percents.map((value, core) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a core is its index
        <div key={core} className={css["core"]} title={`core ${core}: ${percent(value, 1)}`}>
          <div style={{ transform: `scaleY(${Math.min(100, value) / 100})` }} data-hot={value >= 90} />
        </div>
      ))}
    </div>
  );
}

interface MemoryRowProps {
  readonly name: string;
  readonly part: { readonly totalBytes: number; readonly usedBytes: number; readonly percent: number };
}

function MemoryRow({ name, part }: MemoryRowProps) {
  return (
    <div className={css["memory"]}>
      <span>{name}</span>
      <span className="muted">
        {bytes(part.usedBytes)} of {bytes(part.totalBytes)}
      </span>
      <span className={css["number"]}>{percent(part.percent)}</span>
      <Meter percent={part.percent} label={name} />
    </div>
  );
}

function Disks({ disks }: { readonly disks: readonly Disk[] }) {
  if (disks.length === 0) return <p className="muted">None is watched.</p>;
  const fullestFirst = [...disks].sort((a, b) => b.percent - a.percent);
  return (
    <ul className={css["rows"]}>
      {fullestFirst.map((disk) => (
        <li key={disk.mount} className={css["memory"]}>
          <span className="truncate" title={disk.mount}>
            {disk.mount}
          </span>
          <span className="muted">
            {bytes(disk.usedBytes)} of {bytes(disk.totalBytes)}
          </span>
          <span className={css["number"]}>{percent(disk.percent)}</span>
          <Meter percent={disk.percent} label={`${disk.mount}, used`} />
        </li>
      ))}
    </ul>
  );
}

function Interfaces({ network }: { readonly network: readonly NetworkInterface[] }) {
  if (network.length === 0) return <p className="muted">None.</p>;
  return (
    <table className={css["table"]}>
      <thead>
        <tr>
          <th>interface</th>
          <th className={css["number"]}>in</th>
          <th className={css["number"]}>out</th>
        </tr>
      </thead>
      <tbody>
        {network.map((one) => (
          <tr key={one.interface}>
            <td>{one.interface}</td>
            <td className={css["number"]}>{bytesPerSec(one.rxBytesPerSec)}</td>
            <td className={css["number"]}>{bytesPerSec(one.txBytesPerSec)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Sensors({ temperatures }: { readonly temperatures: readonly Temperature[] }) {
  const names = temperatures.map(({ sensor }) => sensor);
  return (
    <ul className={css["rows"]}>
      {temperatures.map(({ sensor, celsius }, index) => (
        // Two chips may name a sensor alike.
        <li key={`${sensor} ${names.indexOf(sensor, index)}`} className={css["sensor"]}>
          <span className="truncate">{sensor}</span>
          <span className={css["number"]}>{celsius.toFixed(0)} °C</span>
        </li>
      ))}
    </ul>
  );
}
