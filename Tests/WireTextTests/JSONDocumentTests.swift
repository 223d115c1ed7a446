import Diagnostics
import Testing
import WireText

@Suite("JSON texts")
struct JSONDocumentTests {
    @Test("members, elements and values of every kind are found")
    func reads() throws {
        let document = try JSONDocument(
            text: #" {"a":1,"b":[true,false,null,"x"],"c":{"d":"é\n🔒😀"},"e":-7,"f":1.5,"kms":"kms:\/\/h"} "#)
        let root = document.root
        #expect(root["a"]?.integer == 1)
        #expect(root["e"]?.integer == -7)
        #expect(root["f"]?.integer == nil)
        #expect(root["f"]?.rawText == "1.5")
        #expect(root["b"]?.elements?.map(\.kind) == [.boolean, .boolean, .null, .string])
        #expect(root["b"]?.elements?.first?.boolean == true)
        #expect(root["c"]?["d"]?.string == "é\n🔒😀")
        #expect(root["kms"]?.string == "kms://h")
        #expect(root["missing"] == nil)
        #expect(root.members?.map(\.name) == ["a", "b", "c", "e", "f", "kms"])
        #expect(root["a"]?.string == nil)
    }

    @Test("texts that RFC 8259 does not allow are refused")
    func refuses() {
        let bad = [
            "", " ", "{", "}", "[", "[1,]", "{\"a\":1,}", "{a:1}", "{\"a\"1}", "01", "-", "1.", "1e", "+1", "tru",
            "nul",
            "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\u{1}\"", "1 2",
            "[1 2]",
            "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "'a'", "NaN", "[1]]",
        ]
        for text in bad {
            #expect(throws: DiagnosedError.self, "\(text)") { try JSONDocument(text: text) }
        }
        let badUTF8: [[UInt8]] = [
            [0x80], [0xC0, 0x80], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xF0, 0x90],
            [0xFF],
            [0xC3],
        ]
        for bytes in badUTF8 {
            #expect(throws: DiagnosedError.self, "\(bytes)") { try JSONDocument([0x22] + bytes + [0x22]) }
        }
    }

    @Test("depth, number of values and size are limited")
    func limits() throws {
        let deep = String(repeating: "[", count: 200_000) + String(repeating: "]", count: 200_000)
        #expect(throws: DiagnosedError.self) { try JSONDocument(text: deep) }
        let sixteen = String(repeating: "[", count: 16) + String(repeating: "]", count: 16)
        _ = try JSONDocument(text: sixteen)
        #expect(throws: DiagnosedError.self) { try JSONDocument(text: "[\(sixteen)]") }
        let many = "[" + Array(repeating: "1", count: 20_001).joined(separator: ",") + "]"
        #expect(throws: DiagnosedError.self) { try JSONDocument(text: many) }
        #expect(throws: DiagnosedError.self) {
            try JSONDocument(text: "\"" + String(repeating: "a", count: 1 << 20) + "\"")
        }
    }

    @Test("no sequence of octets crashes the parser, and what it takes it gives back")
    func random() throws {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array(#"{}[]",:\u0a1e-.tfn "#.utf8) + [0xC3, 0xA9, 0xED, 0xA0, 0xF0, 0x9F, 0x00]
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...24, using: &generator)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
            }
            guard let document = try? JSONDocument(bytes) else { continue }
            var writer = JSONWriter()
            copy(document.root, to: &writer)
            let again = try JSONDocument(writer.bytes())
            var second = JSONWriter()
            copy(again.root, to: &second)
            #expect(writer.text() == second.text())
        }
    }

    private func copy(_ node: JSONNode, to writer: inout JSONWriter) {
        switch node.kind {
        case .object:
            writer.beginObject()
            for member in node.members ?? [] {
                writer.name(member.name)
                copy(member.value, to: &writer)
            }
            writer.endObject()
        case .array:
            writer.beginArray()
            for element in node.elements ?? [] { copy(element, to: &writer) }
            writer.endArray()
        case .string: writer.value(node.string ?? "")
        case .number, .boolean, .null: writer.raw(node.rawText)
        }
    }

    @Test("the writer places commas and escapes what must be escaped")
    func writes() throws {
        var json = JSONWriter(reserving: 1)
        json.beginObject()
        json.member("text", "a\"b\\c/\u{1}\n\té")
        json.member("number", -5)
        json.member("absent", ifPresent: nil)
        json.member("list", ["x", "y"])
        json.name("nested")
        json.beginObject()
        json.endObject()
        [UInt8](0...31).withUnsafeBytes { json.base64URLMember("k", $0) }
        json.member("flag", true)
        json.endObject()
        #expect(
            json.text()
                == #"{"text":"a\"b\\c/\u0001\n\té","number":-5,"list":["x","y"],"nested":{},"#
                + #""k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","flag":true}"#)
        #expect(try JSONDocument(json.bytes()).root["text"]?.string == "a\"b\\c/\u{1}\n\té")
    }
}
