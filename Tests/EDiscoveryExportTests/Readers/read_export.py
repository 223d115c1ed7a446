"""Reads an export with the libraries of Python, which nobody here wrote, and prints what it found as JSON."""
import csv
import email
import email.policy
import io
import json
import mailbox
import pathlib
import sys
import xml.etree.ElementTree

root = pathlib.Path(sys.argv[1])
data = root / "data"


def message(parsed):
    # policy.default decodes headers and refuses line ends in them.
    parts = list(parsed.walk()) if parsed.is_multipart() else [parsed]
    texts = [p.get_content() for p in parts if p.get_content_type() == "text/plain" and not p.is_attachment()]
    return {
        "headers": [[name, str(value)] for name, value in parsed.items()],
        "from": [[a.display_name, a.addr_spec] for a in parsed["From"].addresses],
        "to": [[a.display_name, a.addr_spec] for a in parsed["To"].addresses],
        "date": parsed["Date"].datetime.isoformat(),
        "texts": texts,
        "attachments": [
            {
                "name": a.get_filename(),
                "type": a.get_content_type(),
                "octets": a.get_payload(decode=True).hex(),
                "number": a["X-HDS-Number"],
            }
            for a in parsed.iter_attachments()
            if a.get_filename() != "history.txt"
        ]
        if parsed.is_multipart()
        else [],
        "defects": [str(d) for p in parts for d in p.defects]
        + [str(d) for p in parts for h in p.values() for d in getattr(h, "defects", [])],
    }


found = {"eml": [], "mbox": {}, "csv": [], "problems": [], "dat": [], "edrm": [], "relations": []}
for path in sorted(data.glob("eml/**/*.eml")):
    octets = path.read_bytes()
    assert b"\n" not in octets.replace(b"\r\n", b""), path
    assert all(len(line) <= 998 for line in octets.split(b"\r\n")), path
    assert octets.isascii(), path
    found["eml"].append(message(email.message_from_bytes(octets, policy=email.policy.default)))
for path in sorted(data.glob("mbox/*.mbox")):
    box = mailbox.mbox(path, factory=lambda f: email.message_from_binary_file(f, policy=email.policy.default))
    found["mbox"][path.name] = [message(m) for m in box]
for key, name in [("csv", "items.csv"), ("problems", "problems.csv")]:
    with open(data / name, encoding="utf-8-sig", newline="") as file:
        found[key] = list(csv.DictReader(file, strict=True))
dat = (data / "load.dat").read_bytes()
assert dat.startswith(b"\xef\xbb\xbf")
rows = dat.decode("utf-8-sig").split("\r\n")
assert rows.pop() == ""
table = []
for row in rows:
    values = row.split("\x14")
    assert all(v[0] == "\u00fe" and v[-1] == "\u00fe" and "\u00fe" not in v[1:-1] for v in values), row
    table.append([v[1:-1].replace("\u00ae", "\n") for v in values])
found["dat"] = [dict(zip(table[0], row, strict=True)) for row in table[1:]]
edrm = xml.etree.ElementTree.parse(data / "edrm.xml").getroot()
found["root"] = edrm.attrib
for document in edrm.iterfind("Batch/Documents/Document"):
    files = [(f.get("FileType"), f.find("ExternalFile").attrib) for f in document.iterfind("Files/File")]
    for _, attributes in files:
        assert (data / attributes["FilePath"] / attributes["FileName"]).is_file(), attributes
    found["edrm"].append({
        **document.attrib,
        "tags": [[t.get("TagName"), t.get("TagValue")] for t in document.iterfind("Tags/Tag")],
        "files": files,
    })
for relation in edrm.iterfind("Batch/Relationships/Relationship"):
    found["relations"].append([relation.get("Type"), relation.get("ParentDocId"), relation.get("ChildDocId")])
for row in found["dat"]:
    for column in ["NATIVEPATH", "TEXTPATH"]:
        assert not row[column] or (data / row[column]).is_file(), row
found["lines"] = [json.loads(line) for line in (data / "items.jsonl").read_bytes().decode().split("\n") if line]
json.dump(found, sys.stdout)
