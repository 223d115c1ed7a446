import MasterKey
import SecretMemory
import Testing
import WireText

@testable import KeyManagement

@Suite("Sealed form of sessions")
struct SessionFormatTests {
    @Test("a session of the form before bindings is read as one without, and a cut or longer record is not read")
    func formats() throws {
        let key = SymmetricKey(copying: [UInt8](repeating: 7, count: 32))
        let now = Timestamp(seconds: 1_900_000_000)
        func old(_ more: Bool) -> FieldWriter {
            var fields = FieldWriter(format: 1)
            key.withUnsafeBytes { fields.field($0) }
            fields.field("user")
            fields.field("client")
            fields.field(now)
            fields.field(now.adding(seconds: 1))
            if more { fields.field(false) }
            return fields
        }
        let before = try #require(old(false).withUnsafeBytes { SessionContent($0) })
        #expect(before.userID == "user" && before.confirmation == nil)
        #expect(old(true).withUnsafeBytes { SessionContent($0) } == nil)
        for holder in [
            SessionHolder.user(), .user(confirmation: "print"), .anonymous(authorization: "a"), .partner(host: "h"),
        ] {
            let content = SessionContent(
                key: key, userID: "user", clientID: "client", created: now, expires: now, holder: holder)
            let bytes = content.encoded().withUnsafeBytes { Array($0) }
            #expect(bytes.withUnsafeBytes { SessionContent($0) }?.holder == holder)
            #expect(bytes.dropLast().withUnsafeBytes { SessionContent($0) } == nil)
        }
    }
}
