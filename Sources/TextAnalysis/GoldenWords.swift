import Diagnostics
import Stemming

/// Words whose stems show whether the stemmers are those that the index was made with.
///
/// libstemmer 2.2.0 and the data of today's Snowball differ in 20,897 of 45,670 Dutch words and 1,247 of 35,033 German
/// ones. With another stemmer than at indexing, words are no longer found and nobody notices; so a service compares before
/// it starts. The fingerprint is FNV-1a of 64 bits over words and stems: it guards against drift, not against forgery.
enum GoldenWords {
    static func words(of language: Language) -> [String] {
        let text =
            switch language {
            case .english:
                "running generously skies dying news connection relational happiness agreed hopping luxuriance organisation don't succeeding"
            case .german:
                "häuser aufeinanderfolgenden kategorischen straße grüßen gebäude wirklichkeit mädchen äpfel verwaltungen tanzende fußball"
            case .french:
                "continuellement majestueusement chevaux manger arrivées nationalités intéressantes qualifications hésitation œuvres"
            case .spanish:
                "chicas cheques torneando constituciones hablándole rápidamente ciudades trabajadores pingüinos llegaron"
            case .italian:
                "pronunciamento abbandonata propizio città lavoratori velocemente organizzazioni parlandogli amichevole gli"
            case .portuguese:
                "boiar quilométricas cidades rapidamente organizações trabalhadores falaram coração amáveis ligações"
            case .dutch:
                "lichamelijkheid opglimpende vergaderingen huizen mogelijkheden kinderen gelopen boeken één schepen"
            case .swedish:
                "jaktkarlens klostergårdens flickorna möjligheter arbetarna städernas löften kärleken skrivande"
            case .norwegian:
                "havnemyndighetene opplæringen muligheter arbeiderne byenes skrivende bøkene kjærligheten husene"
            case .danish:
                "indtage undersøgelserne muligheder arbejderne bøgerne skrivende kærligheden husenes underskrevet"
            case .finnish:
                "edeltäjiinsä innostuneesti mahdollisuuksia taloissa kirjoittamassa työntekijöiden ystävällinen kaupungeissa"
            case .russian:
                "вавиловку важнейшими возможности городах написавший работников дружелюбный книгами объединение"
            case .hungarian:
                "babákocsi lehetőségek házakban dolgozóknak könyvekkel városaink szeretetben írásaival gyerekeknek"
            case .romanian:
                "ocolire posibilitățile orașelor lucrătorii cărțile scriind prietenoase organizațiile abilităților"
            case .turkish:
                "kitaplarımızdan evlerimizde çalışanların olasılıklar şehirlerde yazıyorlar arkadaşlık gözlükçüler"
            case .greek:
                "αβεβαιότητα δυνατότητες πόλεις εργαζόμενοι βιβλία γράφοντας φιλικός οργανώσεις ανθρώπων"
            case .arabic:
                "الكتب والمكتبات المدرسون يكتبون كتابهم بالمدينة العاملين سيارات فاستقبلهم"
            case .hindi:
                "लड़कियों किताबें संभावनाओं शहरों लिखते कर्मचारियों दोस्ताना करवाएंगी"
            }
        return text.split(separator: " ").map(String.init)
    }

    /// Of all languages with libstemmer 2.2.0.
    static let expected: UInt64 = 0x63E2_F21B_C226_BD83

    static func fingerprint(_ stem: (Language, [UInt8]) -> [UInt8]) -> UInt64 {
        var hash = FNV1a()
        for language in Language.allCases {
            hash.add(language.code.utf8)
            for word in words(of: language) {
                hash.add([0])
                hash.add(word.utf8)
                hash.add([0])
                hash.add(stem(language, Array(word.utf8)))
            }
        }
        return hash.value
    }

    static func check(_ found: UInt64, expected: UInt64 = expected) throws(DiagnosedError) {
        guard found == expected else {
            throw DiagnosedError(
                .analyserChanged, fault: .internal, "the stemmers are not those that the index is made with",
                expected: "fingerprint \(hexadecimal(expected)) (libstemmer 2.2.0)",
                found: "fingerprint \(hexadecimal(found))",
                hint: "install the release again; with these stemmers words would silently not be found")
        }
    }

    private static func hexadecimal(_ number: UInt64) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}

/// FNV-1a of 64 bits.
struct FNV1a {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ octets: some Sequence<UInt8>) {
        for octet in octets { value = (value ^ UInt64(octet)) &* 0x100_0000_01B3 }
    }
}
