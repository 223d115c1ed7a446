import Testing

@testable import CloudCore

@Suite("Forms that the core demands")
struct OpaqueTextTests {
    // {"alg":"dir","enc":"A256GCM"} and {"enc":"A256GCM","alg":"dir"}, as two kinds of clients write it.
    private static let header = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0"
    private static let other = "eyJlbmMiOiJBMjU2R0NNIiwiYWxnIjoiZGlyIn0"
    private static let iv = "48V1_ALb6US04U3b"
    private static let tag = "XFBoMYUZodetZdvTiFvSkQ"

    @Test("a compact JWE of content is taken, whatever the order in its header")
    func content() {
        #expect(
            OpaqueText.isContent("\(Self.header)..\(Self.iv).5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4.\(Self.tag)"))
        #expect(OpaqueText.isContent("\(Self.other)..\(Self.iv)..\(Self.tag)"))
    }

    @Test("plaintext and everything else is refused")
    func plaintext() {
        let bad = [
            "", "hello", "a.b.c.d.e", "....", "\(Self.header)..\(Self.iv).AAAA",
            "\(Self.header).AAAA.\(Self.iv).AAAA.\(Self.tag)",
            "\(Self.header)..AAAA.AAAA.\(Self.tag)", "\(Self.header)..\(Self.iv).AAAA.AAAA",
            "\(Self.header)..\(Self.iv).not base64!.\(Self.tag)", "\(Self.header)..\(Self.iv).AAAA.\(Self.tag).x",
            "eyJhbGciOiJub25lIn0..\(Self.iv).AAAA.\(Self.tag)", "e30..\(Self.iv).AAAA.\(Self.tag)",
        ]
        for text in bad { #expect(!OpaqueText.isContent(text), "\(text)") }
    }

    @Test("key and resource URIs have scheme, host, collection and UUID")
    func uris() {
        let id = "31f0a1b2-0000-4000-8000-0123456789ab"
        #expect(OpaqueText.isKMSURI("kms://kms.acme.example.com/keys/\(id)", collection: "keys"))
        #expect(
            OpaqueText.isKMSURI(
                "kms://KMS.acme.example.com/resources/\(id)", collection: "resources",
                host: "kms://kms.acme.example.com"))
        #expect(
            !OpaqueText.isKMSURI(
                "kms://kms.other.example.com/resources/\(id)", collection: "resources",
                host: "kms://kms.acme.example.com"))
        for bad in [
            "", "kms://", "kms:///keys/\(id)", "https://h/keys/\(id)", "kms://h/keys/", "kms://h/keys/\(id)/x",
            "kms://h/resources/\(id)", "kms://h/keys/../../etc/passwd", "kms://h h/keys/\(id)", "/keys/\(id)",
        ] {
            #expect(!OpaqueText.isKMSURI(bad, collection: "keys"), "\(bad)")
        }
    }
}
