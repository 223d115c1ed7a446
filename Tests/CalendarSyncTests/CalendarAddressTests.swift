import CalendarSync
import TestServers
import Testing

@Suite("Calendar address")
struct CalendarAddressTests {
    @Test(
        "The same mailbox is the same address, however it is written",
        arguments: [
            ("mailto:Alice@Example.org", "alice@example.org"),
            ("MAILTO:o%27neil+x@example.org", "o'neil+x@example.org"),
            ("mailto:bob@xn--bcher-kva.example", "bob@b\u{FC}cher.example"),
            ("bob@bu\u{308}cher.example", "mailto:bob@B\u{DC}CHER.example"),
            ("mailto:x@xn--fiqs8s.example", "x@中国.example"), ("o+1@example.org", "mailto:o+1@example.org"),
        ])
    func same(_ left: String, _ right: String) {
        #expect(CalendarAddress(left) == CalendarAddress(right))
    }

    @Test("Others are others, and what is no address is only itself")
    func others() {
        #expect(CalendarAddress("mailto:bob@example.org") != CalendarAddress("mailto:bob+x@example.org"))
        #expect(CalendarAddress("urn:uuid:1") != CalendarAddress("mailto:alice@example.org"))
        #expect(CalendarAddress("mailto:a%@example.org").text == "a%@example.org")
    }

    @Test("Any label is read or left as it is", arguments: SeededGenerator.seeds)
    func anyLabel(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("abz019-\u{E9}%@.")
        for _ in 0..<2000 {
            let label = (0..<Int.random(in: 0...70, using: &random)).compactMap { _ in
                alphabet.randomElement(using: &random)
            }
            let text = CalendarAddress("mailto:x@xn--" + String(label)).text
            #expect(!text.isEmpty, "seed \(seed)")
        }
    }
}
