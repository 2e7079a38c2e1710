// Layouts of English: keys as X.Org's xkeyboard-config has them (symbols/us, gb), and what Windows does otherwise.

import type { Table } from "../table";

export const ENGLISH: readonly Table[] = [
  {
    id: "us",
    name: "English (US)",
    keys: `
\`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) -_ =+
qQ wW eE rR tT yY uU iI oO pP [{ ]}
aA sS dD fF gG hH jJ kK lL ;: '" \\|
␀ zZ xX cC vV bB nN mM ,< .> /?`,
  },
  {
    id: "us-intl",
    name: "English (US, international)",
    keys: `
◌\`◌~ 1! 2@ 3# 4$ 5% 6◌^ 7& 8* 9( 0) -_ =+
qQ wW eE rR tT yY uU iI oO pP [{ ]}
aA sS dD fF gG hH jJ kK lL ;: ◌'◌" \\|
␀ zZ xX cC vV bB nN mM ,< .> /?`,
    windows:
      "1¡¹ 2² 3³ 4¤£ 5€ 6¼ 7½ 8¾ 9‘ 0’ -¥ =×÷ qäÄ wåÅ eéÉ r® tþÞ yüÜ uúÚ iíÍ oóÓ pöÖ [« ]» " +
      "aáÁ sß§ dðÐ løØ ;¶° ◌'´¨ \\¬¦ zæÆ c©¢ nñÑ mµ ,çÇ /¿",
    other:
      "◌``~ 1¡¹ 2² 3³ 4¤£ 5€ 6¼^ 7½ 8¾ 9‘ 0’ -¥ =×÷ qäÄ wåÅ eéÉ r® tþÞ yüÜ uúÚ iíÍ oóÓ pöÖ [«“ ]»” " +
      "aáÁ sß dðÐ kœŒ løØ ;¶° ◌''\" \\¬¦ zæÆ c©¢ nñÑ mµ ,çÇ /¿",
  },
  {
    id: "gb",
    name: "English (UK)",
    keys: `
\`¬ 1! 2" 3£ 4$ 5% 6^ 7& 8* 9( 0) -_ =+
qQ wW eE rR tT yY uU iI oO pP [{ ]}
aA sS dD fF gG hH jJ kK lL ;: '@ #~
\\| zZ xX cC vV bB nN mM ,< .> /?`,
    windows: "`¦ 4€ eéÉ uúÚ iíÍ oóÓ aáÁ",
    other: "`|| 4€¼ 6¾⅝ e␀ ]◌~",
    latin: true,
  },
];
