import Diagnostics
import Testing
import WireText

@Suite("Canonical JSON")
struct CanonicalJSONTests {
    private func canonical(_ text: String) throws -> String {
        String(decoding: try CanonicalJSON.bytes(JSONDocument(text: text).root), as: UTF8.self)
    }

    @Test("members are sorted at every level, lists keep their order, white space goes")
    func order() throws {
        #expect(
            try canonical(#" { "b" : [ 3 , 1 , {"z":null,"a":true} ] , "a" : "x" , "B" : false, "" : -7 } "#)
                == #"{"":-7,"B":false,"a":"x","b":[3,1,{"a":true,"z":null}]}"#)
        #expect(try canonical("[]") == "[]" && canonical("{}") == "{}")
    }

    @Test("escapes are resolved to the shortest form that is left")
    func strings() throws {
        #expect(try canonical(#"["\u0041\/\u00e9\n\u0001\"\\"]"#) == #"["A/é\n\u0001\"\\"]"#)
        #expect(try canonical(#"{"\u0062":1,"a":2}"#) == #"{"a":2,"b":1}"#)
    }

    @Test(
        "numbers that two readers could read differently are refused", arguments: ["1.0", "1e3", "9223372036854775808"])
    func numbers(text: String) throws {
        #expect(throws: DiagnosedError.self) { try canonical("[\(text)]") }
    }

    @Test("the canonical text is its own canonical text, any other is not")
    func recognised() throws {
        let text = #"{"a":[1,2],"b":"é"}"#
        let document = try JSONDocument(text: text)
        #expect(CanonicalJSON.isCanonical(Array(text.utf8), document.root))
        for other in [#"{"b":"é","a":[1,2]}"#, #"{"a":[1, 2],"b":"é"}"#, #"{"a":[1,2],"b":"\u00e9"}"#] {
            #expect(!CanonicalJSON.isCanonical(Array(other.utf8), try JSONDocument(text: other).root))
        }
        #expect(!CanonicalJSON.isCanonical(Array("[1.5]".utf8), try JSONDocument(text: "[1.5]").root))
    }
}
