import AuditTrail
import FoundationEssentials
import KMSProtocol
import KeyManagement
import Testing

/// Every rule that the sources name can be explained.
@Suite("Rule catalogue")
struct RuleCatalogueTests {
    private static let sources = "/" + #filePath.split(separator: "/").dropLast(4).joined(separator: "/") + "/Sources"

    /// Literals behind `rule:` and `.refused(`, with what is put in taken for a name behind a colon.
    static func rules() throws -> Set<String> {
        var rules: Set<String> = []
        let literal = /(?:rule(?:: | = )|\.refused\(\s*)"([a-z-]+:?)(?:\\\([^"]*)?"/
        for module in ["KeyManagement", "SignedPolicy"] {
            let names = FileManager.default.enumerator(sources + "/" + module)
            for path in names where path.hasSuffix(".swift") {
                let text = String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
                for match in text.matches(of: literal) { rules.insert(String(match.1)) }
            }
        }
        return rules
    }

    @Test("each rule in the sources has a sentence, and those that refuse have an advice")
    func complete() throws {
        let rules = try Self.rules()
        #expect(rules.contains("not-a-member") && rules.contains("consent-expired") && rules.contains("frozen:"))
        for rule in rules.sorted() where rule != "partner:" {
            #expect(Oversight.explains(rule: rule), "\(rule) has no entry in the catalogue of rules")
        }
        #expect(!Oversight.explains(rule: "no-such-rule"), "the search would find what is missing")
        #expect(Oversight.explains(rule: "partner:not-a-member") && Oversight.explains(rule: "frozen:id"))
    }
}

extension FileManager {
    /// All files below a folder.
    fileprivate func enumerator(_ folder: String) -> [String] {
        let names = (try? contentsOfDirectory(atPath: folder)) ?? []
        return names.flatMap { name -> [String] in
            let path = folder + "/" + name
            return name.hasSuffix(".swift") ? [path] : enumerator(path)
        }
    }
}
