import Diagnostics
import Testing

@testable import HDSClient

@Suite("Login forms")
struct LoginFormTests {
    private func form(_ page: String) throws -> LoginForm { try LoginForm(page: Array(page.utf8)) }
    private func verdict(_ page: String) -> DiagnosedError.Code? { code { _ = try form(page) } }

    private let plain = """
        <!doctype html><html><body><form method="post" action="/authorize">
        <input type="hidden" name="state" value="a&amp;b&#34;&#x27;&lt;c&gt;">
        <input type=hidden name=csrf value=token-1>
        <input id="email" name="email" type="email" value=""><input name="password" type="password">
        <button type="submit">Sign in</button></form></body></html>
        """

    @Test("A plain form gives its target, its hidden fields in order and the names of the others")
    func plainForm() throws {
        let form = try form(plain)
        #expect(form.action == "/authorize")
        #expect(form.hidden.map(\.name) == ["state", "csrf"])
        #expect(form.hidden.map(\.value) == ["a&b\"'<c>", "token-1"])
        #expect(form.emailField == "email")
        #expect(form.passwordField == "password")
    }

    @Test("Forms in comments, scripts, styles, text areas and titles do not count")
    func hiddenForms() throws {
        let decoy = "<form method=post action=https://evil.example><input type=password name=p><input name=e></form>"
        for wrapped in [
            "<!-- \(decoy) -->", "<!--->\(plain)<!-- \(decoy)", "<script>var a = '\(decoy)'</script>",
            "<style>\(decoy)</style>", "<textarea>\(decoy)</textarea>", "<title>\(decoy)</title>",
            "<SCRIPT>\(decoy)</ScRiPt >", "<!DOCTYPE \(decoy.replacing(">", with: "")) >",
            "<? \(decoy.replacing(">", with: "")) >",
        ] {
            let page = wrapped.contains(plain) ? wrapped : wrapped + plain
            let form = try form(page)
            #expect(form.action == "/authorize", "\(wrapped.prefix(20))")
            #expect(form.hidden.count == 2, "\(wrapped.prefix(20))")
        }
    }

    @Test("Attributes count as in a browser: first of two, any case, quoted or not, around odd spaces")
    func attributes() throws {
        let page = """
            <FORM METHOD = 'POST' action='/first' action="https://evil.example"
              data-x="<input type=password name=trap>">
            <input type="hidden" name="a" value='1' value="2"/><input/type="hidden"/name='b'/value="x>y">
            <input name=mail TYPE=EMAIL><input type = password name = "pw" value>
            </FORM>
            """
        let form = try form(page)
        #expect(form.action == "/first")
        #expect(form.hidden.map(\.name) == ["a", "b"])
        #expect(form.hidden.map(\.value) == ["1", "x>y"])
        #expect(form.emailField == "mail")
        #expect(form.passwordField == "pw")
    }

    @Test("A form inside a form is ignored, as browsers do")
    func nested() throws {
        let page = plain.replacing(
            "<button", with: "<form method=post action=https://evil.example><input type=hidden name=x value=1><button")
        let form = try form(page)
        #expect(form.action == "/authorize")
        #expect(form.hidden.map(\.name) == ["state", "csrf", "x"])
    }

    @Test("Other forms of the page do not matter; two with a password are refused")
    func several() throws {
        #expect(try form("<form><input name=q></form>" + plain).action == "/authorize")
        #expect(verdict(plain + plain) == .loginPage)
    }

    @Test(
        "A page without exactly one usable login form is refused",
        arguments: [
            "", "<html></html>", "<form method=get><input name=e><input type=password name=p></form>",
            "<form method=post><input name=e></form>", "<form method=post><input type=password name=p></form>",
            "<form method=post><input name=e><input name=f><input type=password name=p></form>",
            "<form method=post><input name=e><input type=password name=p><input type=password name=q></form>",
            "<form method=post><input name=e><input type=password></form>",
            "<form method=post><input name=e disabled><input type=password name=p></form>",
            "<input type=password name=p>",
            "<form method=post", "<", "<!--", "<a b='", "<script>", "</", "<form method=\"post\" action=\"",
        ])
    func unusable(page: String) { #expect(verdict(page) == .loginPage) }

    @Test("Pages that are too long, have too many fields, too long fields or no UTF-8 are refused")
    func limits() {
        #expect(verdict(plain + String(repeating: " ", count: 300_000)) == .loginPage)
        let many = String(repeating: "<input type=hidden name=x value=1>", count: 100)
        #expect(verdict(plain.replacing("<button", with: many + "<button")) == .loginPage)
        let long = "<input type=hidden name=x value=\(String(repeating: "y", count: 10_000))>"
        #expect(verdict(plain.replacing("<button", with: long + "<button")) == .loginPage)
        #expect(code { _ = try LoginForm(page: [0x3C, 0xFF, 0xFE]) } == .loginPage)
    }

    @Test("Character references resolve as far as escaping needs them, and others stay")
    func references() {
        for (text, value) in [
            ("a&amp;b", "a&b"), ("&lt;&gt;&quot;&apos;", "<>\"'"), ("&#65;&#x42;&#X43;", "ABC"), ("&#96;", "`"),
            ("&unknown;", "&unknown;"), ("&", "&"), ("&;", "&;"), ("&#;", "&#;"), ("&#x;", "&#x;"), ("&#0;", "&#0;"),
            ("&#xD800;", "&#xD800;"), ("&#x110000;", "&#x110000;"), ("&#+5;", "&#+5;"), ("&amp;amp;", "&amp;"),
            ("&#99999999999;", "&#99999999999;"), ("🔒&amp;", "🔒&"),
        ] {
            #expect(CharacterReferences.resolve(Array(text.utf8)) == value, "\(text)")
        }
    }

    @Test("No cut through the page crashes the reader")
    func truncated() {
        let page = Array("<!-- a --><script>x</script><a b='c' d=\"e\" f=g>\(plain)".utf8)
        for end in 0...page.count { _ = try? LoginForm(page: Array(page[..<end])) }
        var generator = SplitMix(seed: 7)
        for _ in 0..<2000 {
            var changed = page
            for _ in 0..<8 {
                changed[Int.random(in: 0..<changed.count, using: &generator)] =
                    Array("<>/'\"=!- &;#x".utf8).randomElement(using: &generator) ?? 0
            }
            _ = try? LoginForm(page: changed)
        }
    }
}

/// A small generator with a fixed seed (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
