import Testing
import TokenIssuer

@Suite("Form parameters")
struct FormParametersTests {
    private func parse(_ text: String) throws -> FormParameters { try FormParameters(parsing: Array(text.utf8)) }

    @Test("Percent sequences and plus signs are decoded in names and values")
    func decoding() throws {
        let form = try parse("a=1&na%6De=x+y%2B%26%C3%A4&b=%3D=")
        #expect(try form.value("a") == "1")
        #expect(try form.value("name") == "x y+&ä")
        #expect(try form.value("b") == "==")
    }

    @Test("An empty value counts as absent, an absent one is nil")
    func emptyValues() throws {
        let form = try parse("a=&b&&=x")
        #expect(try form.value("a") == nil)
        #expect(try form.value("b") == nil)
        #expect(try form.value("c") == nil)
    }

    @Test("A parameter that comes twice is refused when it is read, others stay readable")
    func repeated() throws {
        let form = try parse("a=1&a=1&b=2")
        #expect(throws: FormParameters.Repeated(name: "a")) { try form.value("a") }
        #expect(try form.value("b") == "2")
    }

    @Test("A repeated parameter does not get through because one of the two is empty")
    func repeatedEmpty() throws {
        #expect(throws: FormParameters.Repeated(name: "a")) { try parse("a=&a=1").value("a") }
    }

    @Test(
        "Malformed text refuses the whole",
        arguments: ["a=%", "a=%4", "a=%zz", "a=%+1", "%C3=1", "a=%ff", "a=x%00y", "a=%c0%80"])
    func malformed(_ text: String) {
        #expect(throws: FormParameters.Malformed.self) { try parse(text) }
    }

    @Test("More parameters than any request has are refused")
    func tooMany() throws {
        #expect(throws: FormParameters.Malformed.self) {
            try parse((0...64).map { "p\($0)=1" }.joined(separator: "&"))
        }
        #expect(try parse((0..<64).map { "p\($0)=1" }.joined(separator: "&")).value("p63") == "1")
    }

    @Test("Encoding leaves only unreserved characters, and decoding gives the text back")
    func roundTrip() throws {
        let text = "a b&c=d\r\nLocation: x\u{0}ä\"<>#?%".filter { $0 != "\u{0}" }
        let encoded = FormParameters.encode([("key\r\n", text)])
        #expect(encoded.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        #expect(!encoded.dropFirst(10).contains("="))
        #expect(try parse(encoded).value("key\r\n") == text)
    }
}
