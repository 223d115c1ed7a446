import EDiscoveryExport
import EDiscoveryModel
import TestServers
import Testing
import WireText

@Suite("Item line")
struct ItemLineTests {
    @Test("A line read back is the item that was written", arguments: SeededGenerator.seeds)
    func roundTrip(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let exported = random.exportedItem()
            let line = try ItemLine.encode(exported)
            #expect(try ItemLine.decode(line) == exported, "seed \(seed)")
            #expect(!line.contains(0x0A), "seed \(seed)")
            #expect(CanonicalJSON.isCanonical(line, try JSONDocument(line).root), "seed \(seed)")
        }
    }

    @Test("Every property of an item, a file, a person and a version has its member in the line")
    func complete() {
        func names(_ value: Any) -> Set<String> { Set(Mirror(reflecting: value).children.compactMap(\.label)) }
        let person = Person(id: "a")
        let moment = Timestamp(seconds: 0)
        // Who adds a property adds it to `ItemLine`, to the generator below and here: else exports lose it without a word.
        #expect(
            names(ExportFixture.item(1)) == [
                "id", "kind", "space", "sequence", "published", "author", "text", "history", "deletion", "files",
                "subject", "parent", "participants", "custodians", "isContext", "problems",
            ])
        #expect(names(CollectedFile(name: nil)) == ["name", "mediaType", "size", "digest", "reference"])
        #expect(names(person) == ["id", "email", "name"])
        #expect(names(CollectedItem.Version(text: nil, until: moment, editor: person)) == ["text", "until", "editor"])
        #expect(names(CollectedItem.Deletion(at: moment, by: person)) == ["at", "by"])
        #expect(names(Problem(.keyDenied, "")) == ["problemClass", "text"])
    }

    @Test("A line that says the same in other octets is refused")
    func otherOctets() throws {
        var random = SeededGenerator(seed: 7)
        let line = String(decoding: try ItemLine.encode(random.exportedItem()), as: UTF8.self)
        for changed in [
            line + " ", line.replacing("{", with: "{ ", maxReplacements: 1),
            line.replacing("\"id\":", with: "\"x\":1,\"id\":"),
        ] {
            #expect(throws: (any Error).self) { try ItemLine.decode(Array(changed.utf8)) }
        }
        for broken in ["", "[]", "{}", "{\"id\":1}", "null"] {
            #expect(throws: (any Error).self) { try ItemLine.decode(Array(broken.utf8)) }
        }
    }

    @Test("A number that other readers would see wrongly is refused")
    func numbers() throws {
        var random = SeededGenerator(seed: 3)
        var exported = random.exportedItem()
        exported.item.sequence = .max
        #expect(throws: (any Error).self) { try ItemLine.encode(exported) }
    }
}

extension SeededGenerator {
    mutating func anyText() -> String {
        let pieces = [
            "a", "=", "<script>", "]]>", "\u{FFFE}", "\r", "\n", "\t", "\u{0}", "\"", "\\", "ü", "\u{202E}", "😀", " ",
            "/",
            "../", "\u{2028}", "e\u{301}", "From ", "þ", "\u{14}", "®",
        ]
        return (0..<Int.random(in: 0...12, using: &self)).map { _ in pieces.randomElement(using: &self) ?? "" }.joined()
    }

    mutating func maybe<Value>(_ value: @autoclosure () -> Value) -> Value? {
        Bool.random(using: &self) ? value() : nil
    }

    mutating func person() -> Person {
        let (email, name) = (anyText(), anyText())
        return Person(id: anyText(), email: maybe(email), name: maybe(name))
    }

    mutating func moment() -> Timestamp {
        Timestamp(milliseconds: Int64.random(in: -62_000_000_000_000...253_000_000_000_000, using: &self))
    }

    mutating func exportedItem() -> ExportedItem {
        let (text, parent, subject) = (anyText(), anyText(), person())
        var item = CollectedItem(
            id: anyText(), kind: CollectedItem.Kind.allCases.randomElement(using: &self) ?? .other, space: anyText(),
            sequence: UInt64.random(in: 0...UInt64(Int64.max), using: &self), published: moment(), author: person(),
            text: maybe(text), subject: maybe(subject), parent: maybe(parent), isContext: Bool.random(using: &self))
        for _ in 0..<Int.random(in: 0...3, using: &self) {
            let (text, moment, person) = (anyText(), moment(), person())
            item.history.append(.init(text: maybe(text), until: moment, editor: person))
            item.participants.append(self.person())
            item.custodians.append(anyText())
            item.problems.append(Problem(Problem.Class.allCases.randomElement(using: &self) ?? .keyDenied, anyText()))
        }
        if Bool.random(using: &self) { item.deletion = .init(at: moment(), by: person()) }
        var places: [ExportedItem.Place] = []
        for _ in 0..<Int.random(in: 0...3, using: &self) {
            let (name, type, reference) = (anyText(), anyText(), anyText())
            let size = UInt64.random(in: 0...UInt64(Int64.max), using: &self)
            let digest = (0..<32).map { _ in UInt8.random(in: 0...255, using: &self) }
            item.files.append(
                CollectedFile(
                    name: maybe(name), mediaType: maybe(type), size: maybe(size), digest: maybe(digest),
                    reference: maybe(reference)))
            let path = anyText()
            places.append(.init(number: anyText(), path: maybe(path)))
        }
        return ExportedItem(item: item, number: anyText(), files: places)
    }
}
