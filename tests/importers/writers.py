"""The original written in the formats that people have."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tests.importers.contours import outlines
from tests.importers.scenes import Original, Sample

FIRST_STUFF = 92
"""Of COCO-Stuff's category ids: things below."""


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def rle(mask: np.ndarray) -> dict[str, Any]:
    encoded: Any = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def write_images(original: Original, folder: Path, ending: str = ".jpg") -> None:
    for sample in original.samples:
        put(folder / f"{sample.name}{ending}", sample.image)


def write_coco(original: Original, folder: Path, *, polygons: bool = False) -> None:
    """instances.json, stuff.json and both kinds of pixel maps, whose categories are 92 … as in COCO-Stuff."""
    write_images(original, folder / "images")
    stuff_ids = {c.id: n for n, c in enumerate(original.categories.stuff, start=FIRST_STUFF)}
    images, things, stuff = [], [], []
    for number, sample in enumerate(original.samples, start=1):
        height, width = sample.ids.shape
        images.append({"id": number, "file_name": f"{sample.name}.jpg", "height": height, "width": width})
        pixel_map = np.zeros(sample.ids.shape, dtype=np.uint8)
        for segment in sample.segments:
            mask = sample.mask(segment)
            is_thing = original.categories.by_id[segment["category_id"]].is_thing
            category_id = segment["category_id"] if is_thing else stuff_ids[segment["category_id"]]
            pixel_map[mask] = 183 if is_thing else category_id
            drawn = [np.ravel(outline).tolist() for outline in outlines(mask)] if polygons else rle(mask)
            entry = {"id": len(things) + len(stuff) + 1, "image_id": number, "category_id": category_id}
            entry |= {"segmentation": drawn, "iscrowd": segment["iscrowd"], "bbox": [0, 0, 1, 1], "area": 1}
            (things if is_thing else stuff).append(entry)
        put(folder / "pixelmaps" / f"{sample.name}.png", png(pixel_map))
        put(folder / "stuffthingmaps" / f"{sample.name}.png", png((pixel_map.astype(int) - 1).astype(np.uint8)))
    thing_list = [{"id": c.id, "name": c.name, "supercategory": "x"} for c in original.categories.things]
    stuff_list = [{"id": stuff_ids[c.id], "name": c.name} for c in original.categories.stuff]
    stuff_list.append({"id": 183, "name": "other"})
    things.reverse()
    put(folder / "instances.json", json.dumps({"annotations": things, "images": images, "categories": thing_list}))
    put(folder / "stuff.json", json.dumps({"images": images, "annotations": stuff, "categories": stuff_list}))


def write_masks(original: Original, folder: Path, *, colors: bool = False) -> None:
    """Semantic and instance masks, by value or by colour, and palettes as JSON and as text."""
    write_images(original, folder / "images")
    for sample in original.samples:
        semantic, instance = np.zeros(sample.ids.shape, np.uint8), np.zeros(sample.ids.shape, np.uint16)
        color, instance_color = (np.zeros((*sample.ids.shape, 3), np.uint8) for _ in range(2))
        for number, segment in enumerate(sample.segments, start=1):
            mask, category = sample.mask(segment), original.categories.by_id[segment["category_id"]]
            semantic[mask], color[mask] = category.id, category.color or (0, 0, 0)
            if category.is_thing and not segment["iscrowd"]:
                instance[mask], instance_color[mask] = 300 + number, (number, 7, 200)
        put(folder / "semantic" / f"{sample.name}_L.png", png(color if colors else semantic))
        put(folder / "instance" / f"{sample.name}_I.png", png(instance_color if colors else instance))
    entries = [
        {"name": c.name, "value": c.id, "color": c.color, "isthing": int(c.is_thing)}
        for c in original.categories.entries
    ]
    put(folder / "palette.json", json.dumps(entries))
    put(folder / "palette.txt", "\n".join(f"{' '.join(map(str, e['color'] or ()))}\t{e['name']}" for e in entries))


def write_labelme(original: Original, folder: Path, *, masks: bool = False) -> None:
    """Polygons (outer outlines) or masks; the areas of one thing are a group; crowds have a flag; nested folders."""
    for number, sample in enumerate(original.samples):
        place_of = folder / ("day" if number % 2 else "night/first")
        height, width = sample.ids.shape
        shapes: list[dict[str, Any]] = []
        for group, segment in enumerate(sample.segments):
            common = {
                "label": original.categories.by_id[segment["category_id"]].name,
                "group_id": group,
                "flags": {"crowd": True} if segment["iscrowd"] else {},
            }
            mask = sample.mask(segment)
            if masks:
                y, x = np.argwhere(mask).min(0).tolist(), np.argwhere(mask).max(0).tolist()
                window = mask[y[0] : x[0] + 1, y[1] : x[1] + 1]
                encoded = base64.b64encode(png(window.astype(np.uint8))).decode()
                points = [[y[1], y[0]], [x[1], x[0]]]
                shapes.append({**common, "shape_type": "mask", "points": points, "mask": encoded})
            else:
                shapes += [{**common, "shape_type": "polygon", "points": points} for points in outlines(mask)]
        document = {
            "version": "5.4",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{sample.name}.jpg",
            "imageData": "AAAA",
        }
        put(place_of / f"{sample.name}.jpg", sample.image)
        put(place_of / f"{sample.name}.json", json.dumps({**document, "imageHeight": height, "imageWidth": width}))


def write_cvat(original: Original, folder: Path, *, masks: bool = False, project: bool = False) -> None:
    """`annotations.xml` with polygons or masks, and the images: of a task, or of a project with two subsets."""
    labels = "".join(f"<label><name>{c.name}</name><color>#010203</color></label>" for c in original.categories.entries)
    images = []
    for number, sample in enumerate(original.samples):
        height, width = sample.ids.shape
        shapes = "".join(_cvat_shapes(original, sample, masks))
        subset = ("Train", "Validation")[number % 2] if project else ""
        put(folder / "images" / subset / f"{sample.name}.jpg", sample.image)
        attributes = f'id="{number}" name="{sample.name}.jpg" width="{width}" height="{height}"'
        attributes += f' subset="{subset}" task_id="{number % 2}"' if project else ""
        images.append(f"<image {attributes}>{shapes}</image>")
    kind = "project" if project else "job"
    meta = f"<version>1.1</version><meta><{kind}><labels>{labels}</labels></{kind}></meta>"
    xml = f"<annotations>{meta}{''.join(images)}</annotations>"
    put(folder / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{xml}')


def _cvat_shapes(original: Original, sample: Sample, masks: bool) -> list[str]:
    shapes = []
    for group, segment in enumerate(sample.segments, start=1):
        category, mask = original.categories.by_id[segment["category_id"]], sample.mask(segment)
        crowd = f'<attribute name="is_crowd">{"true" if segment["iscrowd"] else "false"}</attribute>'
        common = f'label="{category.name}" group_id="{group}" z_order="{int(category.is_thing)}"'
        if masks:
            (top, left), (bottom, right) = np.argwhere(mask).min(0).tolist(), np.argwhere(mask).max(0).tolist()
            flat = mask[top : bottom + 1, left : right + 1].ravel()
            ends = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
            runs = ([0] if flat[0] else []) + np.diff(ends).tolist()
            box = f'left="{left}" top="{top}" width="{right - left + 1}" height="{bottom - top + 1}"'
            shapes.append(f'<mask {common} rle="{", ".join(map(str, runs))}" {box}>{crowd}</mask>')
            continue
        for outline in outlines(mask):
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline)
            shapes.append(f'<polygon {common} points="{points}">{crowd}</polygon>')
    return shapes


def write_voc(original: Original, folder: Path, *, palette: bool = True) -> None:
    """CVAT's segmentation mask export: VOC's folders, labelmap.txt, and colours as a palette or as RGB."""
    write_images(original, folder / "JPEGImages")
    colors = [(0, 0, 0), *((40 * n % 256, n, 255 - n) for n in range(1, 256))]
    entries = original.categories.entries
    for sample in original.samples:
        semantic, objects = (np.zeros(sample.ids.shape, np.uint8) for _ in range(2))
        for number, segment in enumerate(sample.segments, start=1):
            mask = sample.mask(segment)
            semantic[mask], objects[mask] = original.categories.index_of[segment["category_id"]] + 1, number
        for name, values in (("SegmentationClass", semantic), ("SegmentationObject", objects)):
            picture = Image.fromarray(values, "P")
            picture.putpalette([channel for color in colors for channel in color])
            (folder / name).mkdir(parents=True, exist_ok=True)
            (picture if palette else picture.convert("RGB")).save(folder / name / f"{sample.name}.png")
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    lines += [f"{c.name}:{','.join(map(str, colors[n]))}::" for n, c in enumerate(entries, start=1)]
    put(folder / "labelmap.txt", "\n".join(lines))
    put(folder / "ImageSets" / "Segmentation" / "default.txt", "\n".join(s.name for s in original.samples))
