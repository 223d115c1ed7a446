import KeyStore
import Testing

@testable import KeyStorePostgreSQL
@testable import PostgreSQLClient

/// What is made of the answers of a server, without one.
@Suite struct PostgreSQLFailureTests {
    @Test(
        "an SQLSTATE tells what kind of failure it is",
        arguments: [
            ("57P01", .unready), ("57P03", .unready), ("25006", .readOnly), ("28P01", .authentication),
            ("42501", .permission), ("3D000", .missing), ("23505", .constraint), ("23503", .constraint),
            ("23502", .other), ("40001", .serialization), ("40P01", .serialization), ("55P03", .busy), ("57014", .busy),
            ("53100", .full), ("53300", .tooManyConnections), ("08006", .lost), ("XX001", .corrupt), ("XX000", .other),
            ("58030", .corrupt), ("22012", .other), ("", .other),
        ] as [(String, PostgreSQLFailure.Kind)])
    func states(_ state: String, _ kind: PostgreSQLFailure.Kind) {
        #expect(PostgreSQLFailure(state: state, message: "m").kind == kind)
    }

    @Test(
        "what libpq says of a login tells whose fault it is",
        arguments: [
            ("connection to server at \"h\" (1.2.3.4), port 5432 failed: Connection refused", .unreachable),
            ("could not translate host name \"certificates.example\" to address", .unreachable),
            (
                "failed: FATAL:  28P01: password authentication failed for user \"u\"\nLOCATION:  auth_failed",
                .authentication
            ),
            ("failed: FATAL:  28000: no pg_hba.conf entry for host \"1.2.3.4\", user \"u\", no encryption", .tls),
            (
                "failed: FATAL:  28000: no pg_hba.conf entry for host \"1.2.3.4\", user \"u\", SSL encryption",
                .authentication
            ),
            ("failed: FATAL:  3D000: database \"d\" does not exist", .missing),
            ("failed: FATAL:  57P03: the database system is starting up", .unready),
            ("failed: FATAL:  53300: sorry, too many clients already", .tooManyConnections),
            ("failed: FATAL:  XX000: internal", .unreachable),
            ("failed: session is read-only", .readOnly), ("failed: server is in hot standby mode", .readOnly),
            ("failed: SSL error: certificate verify failed", .tls),
            ("failed: server certificate for \"a\" does not match host name \"b\"", .tls),
            ("failed: root certificate file \"/x\" does not exist", .tls),
            ("failed: server does not support SSL, but SSL was required", .tls),
            ("failed: fe_sendauth: no password supplied", .authentication), ("", .unreachable),
        ] as [(String, PostgreSQLFailure.Kind)])
    func logins(_ text: String, _ kind: PostgreSQLFailure.Kind) {
        #expect(PostgreSQLFailure.connecting(text).kind == kind, "\(text)")
    }

    @Test("details of a message, which repeat values of rows, are left out")
    func details() {
        let failure = PostgreSQLFailure.connecting(
            "FATAL:  28P01: refused\nDETAIL:  Key (digest)=(secret) is there\nLOCATION:  f, x.c:1")
        #expect(failure.message == "FATAL:  28P01: refused")
    }

    @Test("a duplicate comes before any conflict, a conflict before what failed after it, and nothing out of nothing")
    func judgements() {
        let calls = ChangeCalls(
            StoreChange(
                writes: [.insertKey(Sample.key(1)), .insertLedger(Sample.ledger(1))],
                expectations: [.resource(id: Sample.id(50), version: 7)]))
        // The ledger's absence, the resource's version, the key, the ledger's entry.
        #expect(calls.calls.map(\.statement.name) == ["has_ledger", "lock_resource", "insert_key", "insert_ledger"])
        typealias Answer = Result<PostgreSQLRows, PostgreSQLFailure>
        func rows(_ values: Int64..., changed: Int = 1) -> Answer {
            .success(
                PostgreSQLRows(count: values.count, columns: 1, changed: changed, command: "") { row, _ in
                    withUnsafeBytes(of: values[row].bigEndian) { Array($0) }
                })
        }
        func refused(_ state: String) -> Answer { .failure(PostgreSQLFailure(state: state, message: "m")) }
        let skipped = Answer.failure(PostgreSQLFailure(.skipped, "m"))
        let none = rows(changed: 0)
        let one = rows(changed: 1)
        #expect(calls.judge([none, rows(7), one, one]) == .done(.committed))
        #expect(calls.judge([rows(1), rows(8), none, none]) == .done(.duplicate))
        #expect(calls.judge([none, rows(8), one, one]) == .done(.conflict))
        #expect(calls.judge([none, none, one, one]) == .done(.conflict))
        #expect(calls.judge([none, rows(7), none, one]) == .done(.conflict))
        #expect(calls.judge([none, rows(7), one, none]) == .done(.conflict))
        #expect(calls.judge([none, rows(7), refused("23503"), skipped]) == .done(.conflict))
        #expect(calls.judge([none, rows(8), refused("22021"), skipped]) == .done(.conflict))
        #expect(calls.judge([skipped, skipped, skipped, skipped]) == .skipped)
        #expect(
            calls.judge([none, rows(7), refused("53100"), skipped]) == .failed(.init(state: "53100", message: "m")))
    }

    @Test("numbers of every size come back as they were sent, and others not at all")
    func numbers() throws {
        func rows(_ octets: [UInt8]?) -> PostgreSQLRows {
            PostgreSQLRows(count: 1, columns: 1, changed: 0, command: "") { _, _ in octets }
        }
        for number in [Int64.min, -1, 0, 1, 255, .max] {
            #expect(try rows(withUnsafeBytes(of: number.bigEndian) { Array($0) }).integer(0, 0) == number)
        }
        #expect(try rows([0xFF, 0xFF, 0xFF, 0xFE]).integer(0, 0) == -2)
        #expect(try rows([0x7F, 0xFF]).integer(0, 0) == 32_767)
        #expect(try rows([1]).integer(0, 0) == 1)
        for wrong in [nil, [], [1, 2, 3], [UInt8](repeating: 0, count: 9)] as [[UInt8]?] {
            #expect(throws: PostgreSQLFailure.self) { try rows(wrong).integer(0, 0) }
        }
        #expect(rows(nil).isNull(0, 0) && !rows([]).isNull(0, 0))
    }
}
