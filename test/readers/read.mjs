// Reads a store with zarrita, which knows nothing of Sluice: it finds the image by its OME metadata and the columns by
// their names. It writes one line of JSON about what it found, and then the bytes of every frame in order.
//
//   node read.mjs STORE
import { FileSystemStore } from "@zarrita/storage";
import { once } from "node:events";
import * as zarr from "zarrita";

const columns = ["time_device_ns", "time_host_ns", "frame_id", "state", "crc32c"];

async function write(data) {
  if (!process.stdout.write(data)) await once(process.stdout, "drain");
}

const root = zarr.root(new FileSystemStore(process.argv[2]));
const group = await zarr.open.v3(root, { kind: "group" });
const { ome, sluice } = group.attrs;
const { axes, datasets } = ome.multiscales[0];
const image = await zarr.open.v3(root.resolve(datasets[0].path), { kind: "array" });

const found = {
  ome: ome.version,
  axes: axes.map((a) => a.name),
  shape: image.shape,
  dtype: image.dtype,
  chunks: image.chunks,
  captured: sluice.captured,
  columns: {},
};
for (const name of columns) {
  const column = await zarr.open.v3(root.resolve("frames/" + name), { kind: "array" });
  const { data } = await zarr.get(column);
  found.columns[name] = Array.from(data, String);
}
await write(JSON.stringify(found) + "\n");

const plane = Array(image.shape.length - 1).fill(null);
for (let t = 0; t < image.shape[0]; t++) {
  const { data } = await zarr.get(image, [t, ...plane]);
  await write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}
process.stdout.end();
