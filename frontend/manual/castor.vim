" Files of Castor: networks and casting policies.
autocmd BufNewFile,BufRead *.net setfiletype net
autocmd BufNewFile,BufRead *.policy setfiletype policy
