import ContentInspection
import Diagnostics
import TestServers
import Testing

@Suite("Detectors of what shall not be written") struct DetectorTests {
    /// Test numbers that the schemes publish.
    @Test(
        "Card numbers of every scheme, alone and in groups",
        arguments: [
            "4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "5555555555554444", "2223003122003222",
            "378282246310005", "30569309025904", "3530111333300000", "6011111111111117", "6200000000000005",
            "6759649826438453", "my card is 4012888888881881, ok?",
        ])
    func cards(text: String) { #expect(Detector.cardNumber.count(in: text) == 1, "\(text)") }

    @Test(
        "What only looks like a card is none",
        arguments: [
            "4111111111111112", "0000000000000000", "4111111111111111x", "x4111111111111111", "411111111111",
            "9111111111111117", "12345678901234567890123", "2026-11-27 22:45:00", "", "٤١١١١١١١١١١١١١١١",
        ])
    func noCards(text: String) { #expect(Detector.cardNumber.count(in: text) == 0, "\(text)") }

    /// Examples of the registry.
    @Test(
        "Account numbers of the registry, in groups and in lower case",
        arguments: [
            "DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "gb29nwbk60161331926819", "NO9386011117947",
            "FR1420041010050500013M02606", "MT84MALT011000012345MTLCAST001S", "pay CH9300762011623852957 now",
            "BE68539007547034.",
        ])
    func accounts(text: String) { #expect(Detector.bankAccount.count(in: text) == 1, "\(text)") }

    @Test(
        "A wrong check digit, length or country is none",
        arguments: [
            "DE89370400440532013001", "DE8937040044053201300", "DE893704004405320130000", "XX89370400440532013000",
            "ADE89370400440532013000", "", "DE", "D\u{0}89370400440532013000",
        ])
    func noAccounts(text: String) { #expect(Detector.bankAccount.count(in: text) == 0, "\(text)") }

    @Test("Words count whole and without case, phrases over any gap")
    func words() {
        let list = WordList(["secret", "Project Falcon", " "])
        #expect(list.count(in: "SECRET; a secretary of project\n falcon, Secret!") == 3)
        #expect(list.count(in: "falcon project") == 0 && list.count(in: "") == 0)
        #expect(WordList(["Straße"]).count(in: "die STRAßE, straße 7") == 2)
        #expect(WordList([]).isEmpty && WordList([]).count(in: "a b") == 0)
    }

    @Test("A pattern counts its matches; one that could run for ever, or is none, is refused")
    func patterns() throws {
        let pattern = try TextPattern("ab-[0-9]{3}")
        #expect(pattern.count(in: "AB-123 ab-456ab-789 ab-12") == 3)
        #expect(pattern.count(in: "x\u{0}ab-123") == 1, "behind an octet of zero")
        #expect(try TextPattern("^a").count(in: "aaa") == 1)
        #expect(try TextPattern("x*").count(in: "aaa") >= 1, "also one that matches nothing ends")
        for bad in ["", "(a)\\1", "[a", "a{2,1}", String(repeating: "a", count: 1001)] {
            #expect(throws: DiagnosedError.self, "\(bad)") { try TextPattern(bad) }
        }
        // The classic that never ends elsewhere.
        #expect(try TextPattern("(a+)+$").count(in: String(repeating: "a", count: 5_000) + "b") == 0)
    }

    @Test("A rule says how often is too often, and where")
    func rule() {
        let rule = InspectionRule(
            name: "cards", detectors: [.cardNumber, .words(WordList(["cvv"]))], atLeast: 2, spaces: ["s"],
            actions: [.alert])
        #expect(rule.hits(in: ["4111111111111111", "cvv 123"], space: "s") == 2)
        #expect(rule.hits(in: ["4111111111111111"], space: "s") == nil)
        #expect(rule.hits(in: ["4111111111111111 cvv"], space: "t") == nil)
    }

    @Test("Whatever comes, nothing breaks") func hostile() {
        var random = SeededGenerator(seed: 7)
        let letters: [Character] = ["4", "1", " ", "-", "D", "E", "8", "9", "\u{0}", "é", "\u{1F600}", "\n", "a"]
        for _ in 0..<2_000 {
            let text = String(
                (0..<Int.random(in: 0...60, using: &random)).map { _ in letters.randomElement(using: &random)! })
            #expect(Detector.cardNumber.count(in: text) >= 0 && Detector.bankAccount.count(in: text) >= 0)
        }
    }
}
